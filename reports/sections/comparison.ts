import type { RunResults, RuntimeSummary } from '../../bench/types.ts';
import { RUNTIME_TEXT } from '../charts/palette.ts';
import { type DrawnChart, figure } from '../charts/render.ts';
import type { Summary } from '../summary.ts';
import {
  formatBytes,
  formatChange,
  formatCount,
  formatDuration,
  formatNumber,
  formatPercent,
  plural,
} from '../text/format.ts';
import { type Html, html } from '../text/html.ts';
import { type Column, dataTable, type Section } from './parts.ts';

interface Measure {
  readonly name: string;
  readonly text: (summary: RuntimeSummary) => string;
  /** Plain value when a change against the leading runtime says something. */
  readonly value: ((summary: RuntimeSummary) => number | null) | null;
}

export const MEASURES: readonly Measure[] = [
  { name: 'Completed', text: (s) => `${formatCount(s.passed)} / ${formatCount(s.trials)}`, value: null },
  { name: 'Failed for good', text: (s) => formatCount(s.failed), value: null },
  { name: 'Not measured', text: (s) => formatCount(s.notMeasured), value: null },
  { name: 'Wall time', text: (s) => formatDuration(s.wallMs), value: (s) => s.wallMs },
  {
    name: 'Experiments per minute',
    text: (s) => formatNumber(s.trialsPerMinute),
    value: (s) => s.trialsPerMinute,
  },
  { name: 'In parallel', text: (s) => formatCount(s.parallel), value: null },
  { name: 'CPU of the machine busy', text: (s) => formatPercent(s.cpuUtilisation), value: null },
  {
    name: 'Overhead per attempt',
    text: (s) => formatDuration(s.overheadMsPerTrial),
    value: (s) => s.overheadMsPerTrial,
  },
  {
    name: "of it the bench's own",
    text: (s) => formatDuration(s.harnessMsPerTrial),
    value: null,
  },
  {
    name: 'Start-up, median',
    text: (s) => formatDuration(s.startupMsMedian),
    value: (s) => s.startupMsMedian,
  },
  { name: 'Peak memory', text: (s) => formatBytes(s.memoryPeakBytes), value: (s) => s.memoryPeakBytes },
  {
    name: 'Attempts (retries)',
    text: (s) => `${formatCount(s.attempts)} (${formatCount(s.retries)})`,
    value: null,
  },
  {
    name: 'Injected crash / hang / leak',
    text: (s) =>
      [s.faultsInjected.crash, s.faultsInjected.hang, s.faultsInjected.leak].map(formatCount).join(' / '),
    value: null,
  },
  { name: 'Work lost', text: (s) => formatDuration(s.lostMs), value: null },
  { name: 'Host crashes', text: (s) => formatCount(s.hostCrashes), value: null },
  { name: 'Died because of another', text: (s) => formatCount(s.collateral), value: null },
];

/** What the figures of one runtime mean, in a sentence or three. */
export function runtimeNote(summary: RuntimeSummary, primary: RuntimeSummary): string {
  const parts: string[] = [];
  if (summary !== primary && primary.wallMs > 0 && summary.wallMs > 0) {
    const ratio = summary.wallMs / primary.wallMs;
    parts.push(
      ratio >= 1.02
        ? `took ${formatNumber(ratio)} times as long as ${primary.runtime}`
        : ratio <= 0.98
          ? `needed ${formatPercent(Math.round((1 - ratio) * 1000) / 1000)} less time than ${primary.runtime}`
          : `took as long as ${primary.runtime}`,
    );
  }
  parts.push(
    summary.passed === summary.trials
      ? `completed every experiment`
      : `left ${plural(summary.trials - summary.passed, 'experiment')} without a result`,
  );
  if (summary.retries > 0) parts.push(`repeated ${plural(summary.retries, 'attempt')}`);
  if (summary.hostCrashes > 0) {
    parts.push(`its shared process died ${plural(summary.hostCrashes, 'time')}`);
  }
  if (summary.collateral > 0) {
    parts.push(`${plural(summary.collateral, 'healthy attempt')} died with another's fault`);
  }
  if (summary.lostMs > 0) parts.push(`${formatDuration(summary.lostMs)} of computing was thrown away`);
  if (summary.notMeasured > 0) {
    parts.push(`${plural(summary.notMeasured, 'experiment')} could not be measured and count neither way`);
  }
  return `${parts.join('; ')}.`;
}

export function comparison(results: RunResults, summary: Summary, chart: DrawnChart | null): Section | null {
  const { primary } = summary;
  if (primary === null) return null;
  const runtimes = [primary, ...summary.others];
  const columns: Column[] = [
    { title: 'Figure' },
    ...runtimes.map((runtime) => ({ title: runtime.runtime, numeric: true, lead: runtime === primary })),
  ];
  const rows = MEASURES.map((measure) => [
    measure.name,
    ...runtimes.map((runtime) => html`${measure.text(runtime)}${delta(measure, runtime, primary)}`),
  ]);
  const alone = runtimes.length === 1;
  return {
    id: 'runtimes',
    title: alone ? `Runtime: ${primary.runtime}` : 'Comparison of runtimes',
    short: 'Runtimes',
    body: html`<p>${alone ? 'Only one runtime took part; --compare adds others.' : 'The same experiments, inputs, seeds and faults on each runtime. Each ran them once: a difference of a few per cent can be chance.'}</p>
${chart === null ? null : figure(chart, null)}
${dataTable(alone ? 'Figures of the run' : `Figures by runtime; small print is the change against ${primary.runtime}`, columns, rows, 'Figures by runtime', alone ? 'narrow' : '')}
<h3>In words</h3>
<ul class="plain">${runtimes.map(
      (runtime) =>
        html`<li><strong>${runtime.runtime}</strong> (${RUNTIME_TEXT[runtime.runtime]}) ${runtimeNote(runtime, primary)}</li>`,
    )}</ul>
${agreement(results, summary)}`,
  };
}

function delta(measure: Measure, runtime: RuntimeSummary, primary: RuntimeSummary): Html | null {
  if (measure.value === null || runtime === primary) return null;
  const text = formatChange(measure.value(runtime), measure.value(primary));
  return text === '' ? null : html`<span class="delta">${text}</span>`;
}

function agreement(results: RunResults, summary: Summary): Html | null {
  const { compared, different } = summary.agreement;
  if (compared === 0) return null;
  const label = results.presentation.primaryMetric.label;
  return different.length === 0
    ? html`<p>${label} is exactly the same on every runtime for all ${plural(compared, 'experiment')} completed on more than one.</p>`
    : html`<p class="banner none"><strong>Results differ</strong><span>${label} is not the same on every runtime for ${plural(different.length, 'experiment')} of ${formatCount(compared)}: ${different.slice(0, 10).join(', ')}${different.length > 10 ? ' …' : ''}.</span></p>`;
}
