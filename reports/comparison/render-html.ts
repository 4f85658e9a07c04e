import type { Comparison, ComparisonSide, GateOutcome } from '../../bench/compare/types.ts';
import { changesChart } from '../charts/changes.ts';
import { drawCharts, figure } from '../charts/render.ts';
import { renderDocument } from '../page/document.ts';
import { dataTable, type Section } from '../sections/parts.ts';
import { pack } from '../sections/trials.ts';
import { formatCount, formatPercent, formatTime } from '../text/format.ts';
import { type Html, html } from '../text/html.ts';
import { CHANGE_COLUMNS, changeCells, levelText, OUTCOME_TEXT, outcomeSentence } from './figures.ts';

const OUTCOME_CLASS: Readonly<Record<GateOutcome, string>> = {
  pass: 'pass',
  fail: 'fail',
  inconclusive: 'none',
};

/** Two runs in one page: self-contained, and a pure function of the comparison. */
export async function renderComparisonHtml(comparison: Comparison): Promise<string> {
  const chart = changesChart(comparison);
  const charts = await drawCharts(chart === null ? [] : [chart]);
  const drawn = charts[0];
  const sections: (Section | null)[] = [
    {
      id: 'changes',
      title: 'What changed',
      short: 'Changes',
      body: html`${drawn === undefined ? null : figure(drawn, null)}
${dataTable(
  `Means over the pairs; ${levelText(comparison.level)} bootstrap intervals`,
  CHANGE_COLUMNS.map((title, index) => ({ title, numeric: index > 1 })),
  comparison.changes.map(changeCells),
  'Changes by figure',
)}
<h3>In words</h3>
<ul class="plain">${comparison.changes.map(
        (change) =>
          html`<li><strong>${change.metric.label}</strong>: ${change.verdict}. ${change.reason}</li>`,
      )}</ul>`,
    },
    gateSection(comparison),
    moversSection(comparison),
    noticesSection(comparison),
    sidesSection(comparison),
    methodSection(comparison),
  ];
  return renderDocument({
    title: `${OUTCOME_TEXT[comparison.outcome]}: ${comparison.scenario}, two runs compared`,
    headline: html`<header class="top"><div class="wrap">
<p class="kicker">Clove bench comparison · ${comparison.scenario}</p>
<h1>${comparison.before.label} → ${comparison.after.label}</h1>
<p class="verdict ${OUTCOME_CLASS[comparison.outcome]}" id="verdict"><strong>${OUTCOME_TEXT[comparison.outcome]}</strong><span>${outcomeSentence(comparison)}</span></p>
<dl class="figures">${(['worse', 'better', 'same', 'inconclusive'] as const).map(
      (verdict) =>
        html`<div><dt>${verdict}</dt><dd class="value">${formatCount(comparison.changes.filter((change) => change.verdict === verdict).length)}</dd><dd class="note">${comparison.changes
          .filter((change) => change.verdict === verdict)
          .map(({ metric }) => metric.label)
          .join(', ')}</dd></div>`,
    )}</dl>
</div></header>
`,
    sections: sections.filter((section) => section !== null),
    charts,
    packs: [pack('results', JSON.stringify(comparison))],
    footer: html`<p>Drawn from the records of ${[...comparison.before.runIds, ...comparison.after.runIds].join(', ')}. Nothing is loaded from a network.</p>`,
  });
}

function gateSection({ gates }: Comparison): Section | null {
  if (gates.length === 0) return null;
  return {
    id: 'rules',
    title: 'Rules of the gate',
    short: 'Rules',
    body: dataTable(
      'A rule is broken only by what is shown to be worse',
      [{ title: 'Rule' }, { title: 'Outcome' }, { title: 'Why' }],
      gates.map(({ rule, outcome, reason }) => [
        rule.text,
        html`<span class="badge ${OUTCOME_CLASS[outcome]}">${OUTCOME_TEXT[outcome]}</span>`,
        reason,
      ]),
      'Rules',
    ),
  };
}

function moversSection({ movers }: Comparison): Section | null {
  if (movers.length === 0) return null;
  return {
    id: 'movers',
    title: 'Trials that moved most',
    short: 'Trials',
    body: dataTable(
      'Worst first, at most twenty for each figure',
      [
        { title: 'Trial' },
        { title: 'Parameters' },
        { title: 'Figure' },
        { title: 'Before', numeric: true },
        { title: 'After', numeric: true },
      ],
      movers.map((mover) => [
        mover.id,
        Object.entries(mover.params)
          .map(([name, value]) => `${name} ${value}`)
          .join(', '),
        mover.metric,
        mover.before.toFixed(4),
        mover.after.toFixed(4),
      ]),
      'Trials that moved most',
    ),
  };
}

function noticesSection({ notices }: Comparison): Section | null {
  if (notices.length === 0) return null;
  return {
    id: 'notices',
    title: 'Before trusting these figures',
    short: 'Notices',
    body: html`<ul class="plain">${notices.map((notice) => html`<li>${notice}</li>`)}</ul>`,
  };
}

function sidesSection({ before, after }: Comparison): Section {
  const row = (name: string, of: (side: ComparisonSide) => string | Html) => [name, of(before), of(after)];
  return {
    id: 'sides',
    title: 'The two sides',
    short: 'Sides',
    body: dataTable(
      'What was compared',
      [{ title: '' }, { title: 'Before' }, { title: 'After' }],
      [
        row('Runs', ({ runIds }) => runIds.join(', ')),
        row('Runtime', ({ runtime }) => runtime),
        row('Started', ({ startedAt }) => formatTime(startedAt)),
        row('Scenario version', ({ version }) => version),
        row('Measured', (side) => `${formatCount(side.measured)} of ${formatCount(side.trials)} trials`),
      ],
      'The two sides',
    ),
  };
}

function methodSection(comparison: Comparison): Section {
  return {
    id: 'method',
    title: 'How this was worked out',
    short: 'Method',
    body: html`<p>Trials are set against each other one by one: the same parameters, the same seed. Figures that need the same machine are not judged between two. Intervals are bias-corrected and accelerated bootstrap intervals of the mean difference of the pairs (2,000 resamples, seed ${comparison.seed}); for times and memory, of the mean of their logarithms. Completion is tested by exact McNemar, everything else by sign flips; p-values are corrected after Holm, the figures with a rule among themselves and the others among themselves.</p>
<p><strong>Worse</strong> and <strong>better</strong> need a corrected p of at most ${(1 - comparison.level).toFixed(2)}, an interval that excludes no change, and an effect above the noise floor of the baseline, if it has one. <strong>Same</strong> needs the whole interval within the margin. Everything else is <strong>inconclusive</strong>: “detectable” says how large a change these pairs would have shown four times out of five. Below a coverage of ${formatPercent(comparison.coverageFloor)} nothing is judged; what was not measured is never taken for zero.</p>`,
  };
}
