import type { PageElement } from '../dom.ts';
import type { BaseTools } from './base.ts';

/** Theme, copy and save, stops of the Tab key, navigation. */
export function controlTools({ button, make, pageGlobals, unpack }: BaseTools) {
  /** Theme switch, and the buttons to copy the command and save the record. */
  function startButtons(): void {
    const page = pageGlobals();
    const root = page.document.documentElement;
    const theme = page.document.getElementById('theme');
    if (theme !== null) {
      theme.hidden = false;
      theme.append(
        button('◐', 'Switch between light and dark', () => {
          const dark =
            root.dataset.theme === undefined
              ? page.matchMedia('(prefers-color-scheme: dark)').matches
              : root.dataset.theme === 'dark';
          root.dataset.theme = dark ? 'light' : 'dark';
        }),
      );
    }
    const tools = page.document.getElementById('reproduce-tools');
    const command = page.document.getElementById('command');
    if (tools === null || command === null) return;
    const done = make('span', '', { role: 'status', class: 'muted' });
    const clipboard = (globalThis.navigator as { clipboard?: { writeText(text: string): Promise<void> } })
      .clipboard;
    if (clipboard !== undefined) {
      const copy = button('Copy command', 'Copy the command', () => {
        clipboard.writeText(command.textContent ?? '').then(
          () => {
            done.textContent = 'copied';
          },
          () => {
            done.textContent = 'the browser refused; select the text instead';
          },
        );
      });
      tools.append(copy);
    }
    if (page.document.getElementById('pack-results') !== null) {
      const save = button('Save results.json', 'Save the embedded record as results.json', () => {
        void unpack('results').then((text) => {
          const link = make('a');
          link.href = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
          link.download = 'results.json';
          link.click();
          setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
        });
      });
      tools.append(save);
    }
    tools.append(done);
    tools.hidden = false;
  }

  /** Frames that scroll sideways are stops of the Tab key only while there is something to scroll, or keys to press. */
  function startStops(): void {
    const page = pageGlobals();
    const observer = new page.ResizeObserver((entries) => {
      for (const { target } of entries) {
        const needed = target.scrollWidth > target.clientWidth || target.dataset.keys === 'true';
        if (needed) target.setAttribute('tabindex', '0');
        else target.removeAttribute('tabindex');
      }
    });
    for (const frame of page.document.querySelectorAll('.scroll')) observer.observe(frame);
  }

  /** Marks the section in view in the navigation. */
  function startContents(): void {
    const page = pageGlobals();
    const links = new Map<string, PageElement>();
    for (const link of page.document.querySelectorAll('nav.contents a')) {
      links.set((link.getAttribute('href') ?? '').slice(1), link);
    }
    const observer = new page.IntersectionObserver(
      (entries) => {
        for (const { isIntersecting, target } of entries) {
          const link = links.get(target.id);
          if (isIntersecting) link?.setAttribute('aria-current', 'true');
          else link?.removeAttribute('aria-current');
        }
      },
      { rootMargin: '-20% 0px -80% 0px' },
    );
    for (const section of page.document.querySelectorAll('main > section')) observer.observe(section);
  }

  return { startButtons, startContents, startStops };
}

export type ControlTools = ReturnType<typeof controlTools>;
