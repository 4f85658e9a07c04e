import { metricPaths } from '../../bench/metric.ts';
import type { Attempt, RunResults, TrialOutcome } from '../../bench/types.ts';
import { fleetsOf } from '../fleets.ts';
import { parameterLabel } from '../summary.ts';
import { formatBytes, formatDuration, formatMetric, formatNumber, UNKNOWN } from '../text/format.ts';
import { html, identifier } from '../text/html.ts';
import { visibleLine, visibleLines } from '../text/visible.ts';
import { reasonText } from './failures.ts';
import type { Section } from './parts.ts';
import { type Pack, pack } from './trials.ts';

const CHUNK = 100;
const PACK_LIMIT_BYTES = 900_000;
/** Characters of logs, over all trials; and of one. */
const LOG_BUDGET = 2_000_000;
const LOG_CHARACTERS = 8192;
const METRICS = 200;
const CHECKS = 60;

/** One trial under one runtime, as the page compares it with another: everything is text but figures. */
export interface ComparedTrial {
  readonly id: string;
  readonly params: Readonly<Record<string, string>>;
  readonly result: Readonly<Record<string, string>>;
  /** path → [value, value in words] */
  readonly metrics: Readonly<Record<string, readonly [number, string]>>;
  readonly facts: Readonly<Record<string, string>>;
  /** asserted → what was seen */
  readonly checks: Readonly<Record<string, string>>;
  /** Last lines of output; null = they found no room. */
  readonly log: readonly string[] | null;
  /** What its agents did: in the page, recorded but without room there, or nothing was recorded. */
  readonly activity: 'here' | 'left out' | 'none';
}

export interface TrialDiffSection {
  readonly section: Section | null;
  readonly packs: readonly Pack[];
}

/** Two trials side by side, chosen by the reader. */
export function trialDiffSection(
  results: RunResults,
  activities: ReadonlyMap<string, boolean>,
): TrialDiffSection {
  if (results.trials.length < 2) return { section: null, packs: [] };
  const packs: Pack[] = [];
  const ids: string[] = [];
  let room = PACK_LIMIT_BYTES;
  let logRoom = LOG_BUDGET;
  const logOf = (trial: TrialOutcome): string[] | null => {
    const text = visibleLines(comparedAttempt(trial)?.logTail.trimEnd() ?? '').slice(-LOG_CHARACTERS);
    logRoom -= text.length;
    return logRoom < 0 ? null : text === '' ? [] : text.split('\n');
  };
  for (let start = 0; start < results.trials.length; start += CHUNK) {
    const chunk = results.trials.slice(start, start + CHUNK);
    const made = pack(
      `compare-${packs.length}`,
      JSON.stringify(chunk.map((trial) => comparedTrial(results, trial, activities, logOf(trial)))),
    );
    if (made.bytes.length > room) break;
    room -= made.bytes.length;
    packs.push(made);
    ids.push(...chunk.map(comparedId));
  }
  packs.push(pack('compare-index', JSON.stringify({ size: CHUNK, ids })));
  const left = results.trials.length - ids.length;
  const isFleet = fleetsOf(results).length > 0;
  return {
    packs,
    section: {
      id: 'compare-trials',
      title: 'Compare two trials',
      short: 'Compare',
      body: html`<p class="muted">Parameters, figures, ${isFleet ? 'checks, logs and what each agent did, up to where they first part ways' : 'facts and logs of two trials'}. ${
        left > 0
          ? `${ids.length} of ${results.trials.length} can be chosen here; results.json has all.`
          : null
      }</p><div class="tools" id="compare-tools" hidden></div>
<div id="compare-part" aria-live="polite"><noscript><p>Without scripts, compare trials in results.json.</p></noscript></div>`,
    },
  };
}

function comparedId({ id, runtime }: Pick<TrialOutcome, 'id' | 'runtime'>): string {
  return `${identifier(id)}/${runtime}`;
}

function comparedAttempt({ attempts }: TrialOutcome): Attempt | undefined {
  return attempts.find(({ end }) => end === 'completed') ?? attempts.at(-1);
}

function comparedTrial(
  results: RunResults,
  trial: TrialOutcome,
  activities: ReadonlyMap<string, boolean>,
  log: readonly string[] | null,
): ComparedTrial {
  const attempt = comparedAttempt(trial);
  const isHere = activities.get(comparedId(trial));
  const formats = new Map(results.presentation.metrics.map((metric) => [metric.path, metric]));
  const text = (value: unknown) => visibleLine(String(value ?? UNKNOWN)).slice(0, 200);
  const entries = <Value>(list: readonly (readonly [string, Value])[]) => Object.fromEntries(list);
  return {
    id: comparedId(trial),
    params: entries([
      ...Object.entries(trial.params).map(
        ([name, value]) => [parameterLabel(results, name), text(value)] as const,
      ),
      ['seed', String(trial.seed)] as const,
      ['runtime', trial.runtime] as const,
    ]),
    result: {
      status: trial.status.replace('_', ' '),
      end: attempt === undefined ? 'never ran' : text(reasonText(attempt)),
      attempts: String(trial.attempts.length),
      wall: formatDuration(attempt?.usage.wallMs),
      CPU: formatDuration(attempt?.usage.cpuMs),
      'peak memory': formatBytes(attempt?.usage.memoryPeakBytes),
    },
    metrics: entries(
      metricPaths(trial.metrics)
        .slice(0, METRICS)
        .map(([path, value]) => {
          const known = formats.get(path);
          const words = known === undefined ? formatNumber(value, 4) : formatMetric(value, known.format);
          return [visibleLine(known?.label ?? path), [value, words] as const] as const;
        }),
    ),
    facts: entries(
      Object.entries(trial.facts ?? {})
        .slice(0, METRICS)
        .map(([name, value]) => [visibleLine(name), text(value)] as const),
    ),
    checks: entries(
      (attempt?.result?.fleet?.checks ?? [])
        .slice(0, CHECKS)
        .map(
          ({ asserted, status, observed }) =>
            [
              text(asserted),
              `${status === 'passed' ? '✓' : status === 'failed' ? '✗' : '○'} ${text(observed)}`,
            ] as const,
        ),
    ),
    log,
    activity: isHere === undefined ? 'none' : isHere ? 'here' : 'left out',
  };
}
