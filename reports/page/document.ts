import { createHash } from 'node:crypto';
import type { DrawnChart } from '../charts/render.ts';
import { renderSection, type Section } from '../sections/parts.ts';
import { type Pack, pack } from '../sections/trials.ts';
import { type Html, html, markup } from '../text/html.ts';
import { clientScript } from './client/index.ts';
import { chartLibrary } from './library.ts';
import { STYLE } from './style.ts';

export interface PageParts {
  readonly title: string;
  readonly headline: Html;
  readonly sections: readonly Section[];
  readonly charts: readonly DrawnChart[];
  readonly packs: readonly Pack[];
  readonly footer: Html;
}

function hash(source: string): string {
  return `'sha256-${createHash('sha256').update(source).digest('base64')}'`;
}

/** gzip as base64 in a block that no browser runs or draws. */
function packBlock({ id, bytes }: Pack): Html {
  const base64 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
  return html`<script type="application/gzip;base64" id="pack-${id}">${markup(base64)}</script>
`;
}

/** One file: policy, style, content, data, script. Nothing in it reaches for the network. */
export async function renderDocument(parts: PageParts): Promise<string> {
  const library = await chartLibrary();
  const script = clientScript();
  const charts = Object.fromEntries(
    parts.charts.map(({ chart, vega }) => [
      chart.id,
      {
        vega,
        zoom: chart.zoom,
        controls: chart.controls,
        filter: chart.filter,
        fixedWidth: chart.fixedWidth,
      },
    ]),
  );
  const policy = [
    "default-src 'none'",
    `script-src ${hash(script)} ${hash(library)}`,
    `style-src ${hash(STYLE)}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  const packs = [pack('vega', library), pack('charts', JSON.stringify(charts)), ...parts.packs];
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${markup(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>${parts.title}</title>
<style>${markup(STYLE)}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
${parts.headline}
<nav class="contents" aria-label="Sections"><div class="wrap"><ul>${parts.sections.map(
    (section) => html`<li><a href="#${section.id}">${section.short}</a></li>`,
  )}</ul><div id="theme" hidden></div></div></nav>
<main id="main" class="wrap" tabindex="-1">
${parts.sections.map(renderSection)}</main>
<footer><div class="wrap">${parts.footer}</div></footer>
${packs.map(packBlock)}<script>${markup(script)}</script>
</body>
</html>
`.source;
}
