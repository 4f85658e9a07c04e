/** The text format of Prometheus, version 0.0.4: families of samples, and nothing about where they come from. */

export const PROMETHEUS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  /** Behind the family's name: `_sum`, `_bucket` …; default none. */
  readonly suffix?: string;
  readonly labels?: Labels;
  readonly value: number;
}

export interface Family {
  /** [a-zA-Z_:][a-zA-Z0-9_:]*, with the unit; counters end in _total. */
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** Families without samples are left out. */
export function renderPrometheus(families: readonly Family[]): string {
  let page = '';
  for (const { name, type, help, samples } of families) {
    if (samples.length === 0) continue;
    page += `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
    for (const { suffix = '', labels, value } of samples) {
      page += `${name}${suffix}${renderLabels(labels)} ${renderValue(value)}\n`;
    }
  }
  return page;
}

export function gauge(name: string, help: string, value: number): Family {
  return { name, help, type: 'gauge', samples: [{ value }] };
}

export function counter(name: string, help: string, value: number): Family {
  return { name, help, type: 'counter', samples: [{ value }] };
}

function renderLabels(labels: Labels | undefined): string {
  if (labels === undefined) return '';
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

/** Besides what the format asks for, nothing leaves that moves a terminal or ends a line elsewhere. */
export function escapeLabel(value: string): string {
  return value
    .toWellFormed()
    .replace(/[\\"]/g, '\\$&')
    .replace(/\n/g, '\\n')
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, '\uFFFD');
}

function escapeHelp(text: string): string {
  return text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n');
}

function renderValue(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}
