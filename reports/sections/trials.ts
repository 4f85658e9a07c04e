import { gzipSync } from 'node:zlib';
import { metricAt } from '../../bench/metric.ts';
import type { Attempt, MetricTree, RunResults, TrialOutcome } from '../../bench/types.ts';
import { primaryFormat } from '../charts/heatmap.ts';
import { END_TEXT } from '../charts/palette.ts';
import { groupBy } from '../statistics.ts';
import { parameterLabel, parametersText, parameterText, type Summary } from '../summary.ts';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatMetric,
  formatNumber,
  plural,
  UNKNOWN,
} from '../text/format.ts';
import { type Html, html, identifier } from '../text/html.ts';
import { attemptError, logTail, reasonText } from './failures.ts';
import { dataTable, type Section, statusBadge } from './parts.ts';
import { trialLink } from './results.ts';

/** Up to here rows and drill-downs stand in the page; beyond, they are packed and unpacked by the page on demand. */
const STATIC_TRIALS = 200;
const CHUNK = 100;
/** Characters of log tails in the page, over all drill-downs. */
const STATIC_LOG_BUDGET = 300_000;
const PACKED_LOG_BUDGET = 3_000_000;

/** Figures and facts shown per experiment, and parts (train, test …): an experiment may report any number. */
const FIGURE_LIMIT = 60;
const PART_LIMIT = 8;

/** A named block of gzip data that the page carries. */
export interface Pack {
  readonly id: string;
  readonly bytes: Uint8Array;
}

export interface TrialsSection {
  readonly section: Section;
  readonly packs: readonly Pack[];
}

type Group = readonly [TrialOutcome, ...TrialOutcome[]];

/** `activities`: trials whose activity was recorded, and whether it is in the page. */
export function trialsSection(
  results: RunResults,
  summary: Summary,
  activities: ReadonlyMap<string, boolean>,
): TrialsSection {
  const groups = [...groupBy(results.trials, (trial) => trial.id).values()] as unknown as Group[];
  const failed = (group: Group): number => (group.some((trial) => trial.status !== 'passed') ? 0 : 1);
  const ordered = groups.length > STATIC_TRIALS ? [...groups].sort((a, b) => failed(a) - failed(b)) : groups;
  const shown = ordered.slice(0, STATIC_TRIALS);
  const packed = groups.length > STATIC_TRIALS;
  const budget = new Budget(packed ? PACKED_LOG_BUDGET : STATIC_LOG_BUDGET);
  const rowOf = (group: Group): Html => row(results, summary, group);
  const detailsOf = (group: Group): Html => drillDown(results, summary, group, { activities, budget });
  const packs: Pack[] = [];
  let details: Html;
  if (packed) {
    packs.push(pack('rows', groups.map((group) => rowOf(group).source).join('')));
    const chunks: Record<string, number> = Object.create(null) as Record<string, number>;
    for (let start = 0; start < groups.length; start += CHUNK) {
      const chunk = groups.slice(start, start + CHUNK);
      for (const group of chunk) chunks[identifier(group[0].id)] = packs.length;
      packs.push(
        pack(
          `details-${packs.length}`,
          JSON.stringify(
            Object.fromEntries(chunk.map((group) => [identifier(group[0].id), detailsOf(group).source])),
          ),
        ),
      );
    }
    packs.push(pack('index', JSON.stringify(chunks)));
    details = html`<div id="trial-detail" aria-live="polite"><p class="muted">Choose an experiment above to see its attempts, figures and logs.</p></div><noscript><p>Attempts and logs of ${plural(groups.length, 'experiment')} are packed; without scripts, read them in results.json.</p></noscript>`;
  } else {
    details = html`${shown.map(detailsOf)}`;
  }
  const runtimes = results.runtimes.map(({ runtime }) => runtime);
  const headers = [
    { title: 'Experiment', numeric: false },
    ...summary.parameters.map((name) => ({ title: parameterLabel(results, name), numeric: false })),
    { title: results.presentation.primaryMetric.label, numeric: true },
    ...runtimes.map((runtime) => ({ title: runtime, numeric: false })),
    { title: 'Compute', numeric: true },
    { title: 'Peak memory', numeric: true },
  ];
  return {
    packs,
    section: {
      id: 'trials',
      title: 'Every experiment',
      short: 'Experiments',
      body: html`<div class="tools" id="trial-tools" hidden></div>
<div class="scroll" role="region" tabindex="0" aria-label="Every experiment"><table class="dense" id="trial-table" data-packed="${packed ? 'rows' : ''}"><caption id="trial-count">${
        packed
          ? `${formatCount(shown.length)} of ${plural(groups.length, 'experiment')}, failures first`
          : plural(groups.length, 'experiment')
      }; compute time and memory of the last attempt under ${summary.primary?.runtime ?? UNKNOWN}</caption><thead><tr>${headers.map(
        (column) => html`<th scope="col" class="${column.numeric ? 'num' : ''}">${column.title}</th>`,
      )}</tr></thead><tbody>${shown.map(rowOf)}</tbody></table></div>
<h3>In detail</h3>
${details}`,
    },
  };
}

export function pack(id: string, text: string): Pack {
  return { id, bytes: gzipSync(text, { level: 9 }) };
}

function primaryOf(summary: Summary, group: Group): TrialOutcome {
  return group.find((trial) => trial.runtime === summary.primary?.runtime) ?? group[0];
}

/** Cells carry `data-v` where the text does not sort as the value does. */
function row(results: RunResults, summary: Summary, group: Group): Html {
  const own = primaryOf(summary, group);
  const last = own.attempts.at(-1);
  const value = metricAt(own.metrics, results.presentation.primaryMetric.path);
  const failed = group.some((trial) => trial.status !== 'passed');
  const retried = group.some((trial) => trial.attempts.length > 1);
  return html`<tr data-state="${failed ? 'failed' : retried ? 'retried' : 'clean'}"><th scope="row">${trialLink(own.id)}</th>${summary.parameters.map(
    (name) => html`<td>${parameterText(own, name)}</td>`,
  )}<td class="num" data-v="${value ?? ''}">${formatMetric(value, primaryFormat(results))}</td>${results.runtimes.map(
    ({ runtime }) => html`<td>${statusCell(group.find((trial) => trial.runtime === runtime))}</td>`,
  )}<td class="num" data-v="${last?.usage.computeMs ?? ''}">${formatDuration(last?.usage.computeMs)}</td><td class="num" data-v="${last?.usage.memoryPeakBytes ?? ''}">${formatBytes(last?.usage.memoryPeakBytes)}</td></tr>`;
}

function statusCell(trial: TrialOutcome | undefined): HtmlOrText {
  if (trial === undefined) return UNKNOWN;
  const last = trial.attempts.at(-1);
  const retries = trial.attempts.length - 1;
  if (trial.status === 'passed') {
    return retries === 0
      ? statusBadge('passed', '✓')
      : statusBadge('passed', `✓ ${plural(retries, 'retry', 'retries')}`);
  }
  const what = last === undefined ? 'never ran' : END_TEXT[last.end];
  return statusBadge(trial.status, trial.status === 'failed' ? `✗ ${what}` : `○ ${what}`);
}
type HtmlOrText = Html | string;

class Budget {
  #left: number;
  constructor(characters: number) {
    this.#left = characters;
  }
  take(characters: number): boolean {
    if (characters > this.#left) return false;
    this.#left -= characters;
    return true;
  }
}

function drillDown(
  results: RunResults,
  summary: Summary,
  group: Group,
  { activities, budget }: { readonly activities: ReadonlyMap<string, boolean>; readonly budget: Budget },
): Html {
  const own = primaryOf(summary, group);
  const value = metricAt(own.metrics, results.presentation.primaryMetric.path);
  return html`<details class="trial" id="trial=${identifier(own.id)}"><summary><strong>${own.id}</strong> ${parametersText(own, summary.parameters)} <span class="muted">${formatMetric(value, primaryFormat(results))}</span></summary><div class="inside">
${dataTable(
  'Attempts',
  [
    { title: 'Runtime' },
    { title: '#', numeric: true },
    { title: 'End' },
    { title: 'Wall', numeric: true },
    { title: 'Queued', numeric: true },
    { title: 'Start-up', numeric: true },
    { title: 'Compute', numeric: true },
    { title: 'CPU', numeric: true },
    { title: 'Peak memory', numeric: true },
  ],
  group.flatMap((trial) => trial.attempts.map(attemptRow)),
  `Attempts of ${own.id}`,
)}
${activityLinks(group, activities)}${metricsTable(own)}${factLine(own)}<p class="muted">Seed ${own.seed}, key <code>${own.key}</code></p>
${group.flatMap((trial) => trial.attempts.map((attempt) => attemptLog(attempt, budget)))}</div></details>
`;
}

/** Where the page tells what the agents of a fleet did, under each runtime that it ran on. */
function activityLinks(group: Group, activities: ReadonlyMap<string, boolean>): Html | null {
  const known = group.filter((trial) => activities.has(activityId(trial)));
  if (known.length === 0) return null;
  const link = (trial: TrialOutcome): Html =>
    activities.get(activityId(trial)) === true
      ? html`<a href="#activity=${activityId(trial)}">who did what when, under ${trial.runtime}</a>`
      : html`<span class="muted">under ${trial.runtime} it found no room in this file; it is in results.json</span>`;
  return html`<p>What happened: ${known.map((trial, index) => html`${index === 0 ? null : ', '}${link(trial)}`)}</p>`;
}

function activityId({ id, runtime }: TrialOutcome): string {
  return `${identifier(id)}/${runtime}`;
}

function attemptRow(attempt: Attempt): readonly (string | Html)[] {
  const { usage } = attempt;
  return [
    attempt.runtime,
    String(attempt.attempt),
    reasonText(attempt),
    formatDuration(usage.wallMs),
    formatDuration(attempt.queuedMs),
    formatDuration(usage.startupMs),
    formatDuration(usage.computeMs),
    formatDuration(usage.cpuMs),
    `${formatBytes(usage.memoryPeakBytes)}${usage.memorySource === 'shared' ? ' (whole process)' : ''}`,
  ];
}

/** Every figure of the trial: rows are names, columns the first level (train, valid, test). */
function metricsTable(trial: TrialOutcome): Html | null {
  if (trial.metrics === null) return null;
  const nested = Object.entries(trial.metrics)
    .filter((entry): entry is [string, MetricTree] => typeof entry[1] === 'object' && entry[1] !== null)
    .sort(([a], [b]) => partOrder(a) - partOrder(b))
    .slice(0, PART_LIMIT);
  const flat = Object.entries(trial.metrics)
    .filter(([, value]) => typeof value === 'number')
    .slice(0, FIGURE_LIMIT);
  const all = [...new Set(nested.flatMap(([, tree]) => Object.keys(tree)))];
  const names = all.slice(0, FIGURE_LIMIT);
  return html`${
    names.length === 0
      ? null
      : dataTable(
          all.length > names.length
            ? `First ${formatCount(names.length)} of ${formatCount(all.length)} figures`
            : 'Figures',
          [{ title: 'Metric' }, ...nested.map(([part]) => ({ title: part, numeric: true }))],
          names.map((name) => [
            name,
            ...nested.map(([, tree]) => {
              const value = Object.hasOwn(tree, name) ? tree[name] : null;
              return typeof value === 'number' ? formatNumber(value, 4) : UNKNOWN;
            }),
          ]),
          `Figures of ${trial.id}`,
        )
  }${flat.length === 0 ? null : html`<p>${flat.map(([name, value]) => `${name} ${formatNumber(value as number, 4)}`).join(', ')}</p>`}`;
}

/** Training before validation before test, then whatever else. */
function partOrder(name: string): number {
  const place = ['train', 'valid', 'validation', 'test'].indexOf(name);
  return place < 0 ? 9 : place;
}

function factLine(trial: TrialOutcome): Html | null {
  const all = Object.entries(trial.facts ?? {});
  if (all.length === 0) return null;
  const facts = all.slice(0, FIGURE_LIMIT);
  return html`<p class="muted">${facts.map(([name, value]) => `${name}: ${value ?? UNKNOWN}`).join(' · ')}${all.length > facts.length ? ` and ${formatCount(all.length - facts.length)} more` : ''}</p>`;
}

function attemptLog(attempt: Attempt, budget: Budget): Html | null {
  if (attempt.end === 'completed' && attempt.logTail.trim() === '') return null;
  const name = html`<p><strong>${attempt.runtime}, attempt ${attempt.attempt}</strong>: ${reasonText(attempt)}</p>`;
  if (!budget.take(attempt.logTail.length)) {
    return html`${name}${attemptError(attempt)}<p class="muted">Log left out to keep this file small; it is in results.json.</p>`;
  }
  return html`${name}${attemptError(attempt)}${logTail(attempt.logTail, 8192)}`;
}
