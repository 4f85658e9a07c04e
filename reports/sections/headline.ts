import type { RunResults, RuntimeSummary } from '../../bench/types.ts';
import { primaryFormat } from '../charts/heatmap.ts';
import { fleetsOf } from '../fleets.ts';
import { parametersText, type Summary } from '../summary.ts';
import {
  formatCount,
  formatDuration,
  formatMetric,
  formatNumber,
  formatPercent,
  formatTime,
  plural,
} from '../text/format.ts';
import { type Html, html } from '../text/html.ts';
import { worldTimes } from '../world-time.ts';

export const VERDICT_TEXT = { pass: 'Pass', fail: 'Fail', no_verdict: 'No verdict' } as const;
const VERDICT_CLASS = { pass: 'pass', fail: 'fail', no_verdict: 'none' } as const;

export interface Figure {
  readonly name: string;
  readonly value: string;
  readonly note: string;
}

/** The figures a reader asks for first; used by the page and, in words, by report.md. */
export function headlineFigures(results: RunResults, summary: Summary): Figure[] {
  const { primary } = summary;
  if (primary === null) return [];
  const checks = checkFigures(results, primary);
  const wall = {
    name: 'Wall time',
    value: formatDuration(primary.wallMs),
    note: `${plural(primary.parallel, 'place')} in parallel on ${plural(results.machine.cores, 'core')}`,
  };
  if (checks.length > 0) return [...checks, wall, ...bestFigure(results, summary)];
  const figures: Figure[] = [
    {
      name: 'Completed',
      value: `${formatCount(primary.passed)} / ${formatCount(primary.trials)}`,
      note: [
        `${formatPercent(primary.completion)} under ${primary.runtime}`,
        ...(primary.notMeasured > 0 ? [`${formatCount(primary.notMeasured)} not measured`] : []),
      ].join(', '),
    },
    wall,
    {
      name: 'Per minute',
      value: formatNumber(primary.trialsPerMinute),
      note:
        primary.cpuUtilisation === null
          ? 'experiments'
          : `experiments, CPU ${formatPercent(primary.cpuUtilisation)} busy`,
    },
  ];
  figures.push(...bestFigure(results, summary));
  figures.push(faultFigure(summary, primary));
  const baseline = baselineOf(summary);
  if (baseline !== null && primary.wallMs > 0 && baseline.wallMs > 0) {
    const ratio = baseline.wallMs / primary.wallMs;
    figures.push({
      name: `${ratio >= 1 ? 'Faster' : 'Slower'} than ${baseline.runtime}`,
      value: `${formatNumber(ratio >= 1 ? ratio : 1 / ratio)}×`,
      note: `${formatDuration(baseline.wallMs)} there, ${formatCount(baseline.passed)} / ${formatCount(baseline.trials)} completed`,
    });
  }
  return figures;
}

function bestFigure(results: RunResults, { best, parameters, primary }: Summary): Figure[] {
  if (best === null) return [];
  const { label } = results.presentation.primaryMetric;
  return [
    {
      name: primary?.trials === 1 ? label : `Best ${label}`,
      value: formatMetric(best.value, primaryFormat(results)),
      note: parametersText(best.trial, parameters),
    },
  ];
}

/** Of runs whose trials are fleets; nothing for others. */
function checkFigures(results: RunResults, primary: RuntimeSummary): Figure[] {
  const fleets = fleetsOf(results);
  if (fleets.length === 0) return [];
  const figures = results.runtimes.map(({ runtime }) => {
    const checks = fleets
      .filter(({ trial }) => trial.runtime === runtime)
      .flatMap(({ fleet }) => fleet.checks);
    const held = checks.filter(({ status }) => status === 'passed').length;
    return {
      name: runtime === primary.runtime ? 'Checks that hold' : `The same under ${runtime}`,
      value: `${formatCount(held)} / ${formatCount(checks.length)}`,
      note: runtime === 'process' ? 'without walls, and with limits far above' : `under ${runtime}`,
    };
  });
  const agents = fleets
    .filter(({ trial }) => trial.runtime === primary.runtime)
    .flatMap(({ fleet }) => fleet.agents);
  const restarts = agents.reduce((sum, agent) => sum + agent.restarts, 0);
  return [
    ...figures,
    {
      name: 'Agents',
      value: formatCount(agents.length),
      note: `${plural(restarts, 'restart')}, ${formatCount(agents.filter(({ escalated }) => escalated).length)} given up`,
    },
  ];
}

function faultFigure(summary: Summary, primary: RuntimeSummary): Figure {
  const own = summary.failures.filter((failure) => failure.trial.runtime === primary.runtime);
  const survived = own.filter((failure) => failure.survived).length;
  const injected = Object.values(primary.faultsInjected).reduce((total, count) => total + count, 0);
  if (own.length === 0 && injected === 0) {
    return { name: 'Faults', value: 'none', note: 'no attempt failed, none was made to' };
  }
  return {
    name: 'Faults survived',
    value: `${formatCount(survived)} / ${formatCount(own.length)}`,
    note: `${plural(primary.retries, 'retry', 'retries')}, ${plural(injected, 'fault')} injected`,
  };
}

/** What a reader would have used without any of this: one after the other, else the first other runtime. */
export function baselineOf(summary: Summary): RuntimeSummary | null {
  return summary.others.find((other) => other.runtime === 'sequential') ?? summary.others[0] ?? null;
}

export function headline(results: RunResults, summary: Summary): Html {
  const { verdict, scenario } = results;
  const started = formatTime(results.startedAt);
  return html`<header class="top"><div class="wrap">
<p class="kicker">Clove bench report · ${scenario.name} ${scenario.version} · <time datetime="${results.startedAt}">${started}</time> · seed ${results.seed}</p>
<h1>${scenario.title}</h1>
<p class="muted">${scenario.description}</p>
<p class="verdict ${VERDICT_CLASS[verdict.kind]}" id="verdict"><strong>${VERDICT_TEXT[verdict.kind]}</strong><span>${verdict.reason}${
    verdict.coverage < verdict.coverageFloor
      ? ` Only ${formatPercent(verdict.coverage)} was measured; a verdict needs ${formatPercent(verdict.coverageFloor)}.`
      : ''
  }</span></p>
${worldTimes(results).map((text) => html`<p class="muted world-time">${text}</p>`)}${provenanceBanner(results)}${stateBanner(results)}
<dl class="figures">${headlineFigures(results, summary).map(
    ({ name, value, note }) =>
      html`<div><dt>${name}</dt><dd class="value">${value}</dd><dd class="note">${note}</dd></div>`,
  )}</dl>
${
  results.notices.length === 0
    ? null
    : html`<p><a href="#notices">${plural(results.notices.length, 'notice')} to read before trusting these figures</a></p>`
}</div></header>
`;
}

function provenanceBanner(results: RunResults): Html {
  const synthetic = results.provenance.filter((source) => source.kind === 'synthetic');
  const names = results.provenance.map((source) => source.name).join(', ');
  if (synthetic.length === 0)
    return html`<p class="muted">Data: ${names || 'none'}. <a href="#environment">Sources</a></p>`;
  const all = synthetic.length === results.provenance.length;
  return html`<p class="banner none" id="provenance"><strong>Rule-labelled, synthetic data</strong><span>${
    all
      ? 'No figure here says anything about real molecules or real tasks; it shows that the machinery works.'
      : `Synthetic: ${synthetic.map((source) => source.name).join(', ')}. Figures on these say nothing about real data.`
  } <a href="#environment">Sources</a></span></p>`;
}

function stateBanner(results: RunResults): Html | null {
  if (results.status === 'complete') return null;
  return html`<p class="banner none" id="state"><strong>${results.status}</strong><span>${
    results.status === 'interrupted'
      ? 'The run was stopped before its end; what is shown is what was measured until then. It can be resumed.'
      : 'The run had not ended when this report was drawn.'
  }</span></p>`;
}
