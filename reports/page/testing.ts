/** The browser that tests open pages in: Debian's, told to talk to nobody. */
export const CHROMIUM = process.env.CLOVE_CHROMIUM ?? '/usr/bin/chromium-headless-shell';

export const CHROMIUM_ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
