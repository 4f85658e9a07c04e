import type * as Vega from 'vega';
import type * as VegaLite from 'vega-lite';
import { type Html, html, markup } from '../text/html.ts';

/**
 * A chart is described once in vega-lite, compiled in Node to vega, drawn in Node as static SVG, and shipped as vega
 * for the page to redraw at its own width. Specs hold only fixed field names and fixed expressions: what comes from
 * the record is data values, scale domains or plain text, so no expression is ever built from it.
 */
export interface Chart {
  /** [a-z]+, unique on the page. */
  readonly id: string;
  readonly title: string;
  /** What a reader who cannot see it should know. */
  readonly description: string;
  readonly spec: VegaLite.TopLevelSpec;
  /** Pan and zoom along x, together with all others that do: the widest range of the signals `low` and `high`. null = fixed. */
  readonly zoom: readonly [number, number] | null;
  /** Shows the buttons that steer all charts over time. */
  readonly controls: boolean;
  /** Runtimes the reader can narrow it to by the signal `runtime`. */
  readonly filter: readonly string[];
  readonly legend: readonly LegendEntry[];
  /** Chart keeps its width whatever the page's (a grid of cells). */
  readonly fixedWidth: boolean;
}

export interface LegendEntry {
  readonly label: string;
  /** A custom property of the style sheet, e.g. "--passed". */
  readonly colour: string;
  readonly shape: 'box' | 'cross' | 'line';
}

export interface DrawnChart {
  readonly chart: Chart;
  readonly svg: Html;
  /** Compiled vega specification. */
  readonly vega: Vega.Spec;
  /** What vega-lite found odd about the description: a mistake of ours, empty in every test. */
  readonly warnings: readonly string[];
}

/** Width static drawings are made for; figures scroll sideways where there is less. */
export const STATIC_WIDTH = 860;

/**
 * Tooltips are whole texts in a field `tip`: titles of single fields would end up in an expression that vega-lite
 * writes, and those must not hold text from the record.
 */
export const TOOLTIP = { field: 'tip', type: 'nominal' } as const;

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif';

// Colours are custom properties of the page, so one drawing serves light, dark and print.
const CONFIG: VegaLite.Config = {
  background: 'transparent',
  font: FONT,
  aria: false,
  view: { stroke: null },
  axis: {
    labelColor: 'var(--ink-2)',
    titleColor: 'var(--ink-2)',
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    domainColor: 'var(--line-strong)',
    tickColor: 'var(--line-strong)',
    gridColor: 'var(--line)',
    labelLimit: 220,
    labelSeparation: 8,
  },
};

export async function drawCharts(charts: readonly Chart[]): Promise<DrawnChart[]> {
  // Loaded here: half a megabyte of modules that only reports need.
  const [vega, vegaLite, { expressionInterpreter }] = await Promise.all([
    import('vega'),
    import('vega-lite'),
    import('vega-interpreter'),
  ]);
  const drawn: DrawnChart[] = [];
  for (const chart of charts) {
    const warnings: string[] = [];
    const { spec } = vegaLite.compile({ ...chart.spec, config: CONFIG } as VegaLite.TopLevelSpec, {
      logger: collector(vega.logger(vega.Warn), warnings),
    });
    const view = new vega.View(vega.parse(spec, undefined, { ast: true }), {
      renderer: 'none',
      expr: expressionInterpreter,
      logLevel: vega.Error,
    });
    vega.resetSVGDefIds();
    const svg = await view.toSVG();
    view.finalize();
    drawn.push({ chart, svg: staticSvg(svg, chart.id), vega: withoutNoise(spec), warnings });
  }
  return drawn;
}

function collector(logger: Vega.LoggerInterface, warnings: string[]): Vega.LoggerInterface {
  const collect = (...parts: readonly unknown[]): Vega.LoggerInterface => {
    warnings.push(parts.map(String).join(' '));
    return logger;
  };
  return Object.assign(logger, { warn: collect, error: collect });
}

/** Coordinates to a tenth of a pixel; text between tags is left alone. */
function rounded(svg: string): string {
  return svg.replace(/ (?:d|transform|x|y|x2|y2|width|height|viewBox)="[^"]*"/g, (attribute) =>
    attribute.replace(/-?\d+\.\d{2,}(?:e-?\d+)?/g, (number) => String(Math.round(Number(number) * 10) / 10)),
  );
}

/** vega's own SVG, made a part of the page: ids of its own, hidden from readers (the figure describes it). */
function staticSvg(svg: string, id: string): Html {
  const own = rounded(svg)
    .replace(/ id="(clip|gradient_)(\d+)"/g, ` id="static-${id}-$1$2"`)
    .replace(/="url\(#(clip|gradient_)(\d+)\)"/g, `="url(#static-${id}-$1$2)"`)
    .replace(/ (?:aria-[a-z]+|role|class|pointer-events)="[^"]*"/g, '')
    .replace(/ xmlns(?::xlink)?="[^"]*"| version="1.1"/g, '')
    .replace(/ stroke-miterlimit="4"| opacity="1"/g, '')
    .replace(/<path d="" display="none"\/>|<path d="M0,0h0v0h0Z"\/>/g, '')
    .replace(/<g><\/g>/g, '');
  return markup(own.replace('<svg', '<svg aria-hidden="true" focusable="false"'));
}

/** vega-lite leaves its schema address in the output: an address nobody must ever fetch. */
function withoutNoise(spec: Vega.Spec): Vega.Spec {
  const { $schema: _, ...rest } = spec;
  return rest;
}

export function figure(drawn: DrawnChart, table: Html | null): Html {
  const { chart } = drawn;
  return html`<figure class="chart" id="chart-${chart.id}" data-chart="${chart.id}" aria-labelledby="chart-${chart.id}-title">
<figcaption id="chart-${chart.id}-title">${chart.title}</figcaption>
<p class="sr" id="chart-${chart.id}-text">${chart.description}</p>
${legend(chart.legend)}
<div class="tools" hidden></div>
<div class="plot scroll${chart.fixedWidth ? ' fixed' : ''}" role="img" tabindex="0" aria-label="${chart.title}" aria-describedby="chart-${chart.id}-text">${drawn.svg}</div>
${table === null ? null : html`<details class="alternative"><summary>The same as a table</summary>${table}</details>`}
</figure>`;
}

function legend(entries: readonly LegendEntry[]): Html | null {
  if (entries.length === 0) return null;
  return html`<ul class="legend">${entries.map(
    ({ label, colour, shape }) =>
      html`<li><svg aria-hidden="true" width="14" height="14" viewBox="0 0 14 14">${
        shape === 'cross'
          ? html`<path d="M3 3l8 8M11 3l-8 8" fill="none" stroke="var(${colour})" stroke-width="2.5"/>`
          : shape === 'line'
            ? html`<path d="M0 7h14" fill="none" stroke="var(${colour})" stroke-width="3"/>`
            : html`<path d="M1 2h12v10h-12z" fill="var(${colour})"/>`
      }</svg>${label}</li>`,
  )}</ul>`;
}
