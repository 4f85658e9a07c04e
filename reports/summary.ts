import { metricAt } from '../bench/metric.ts';
import { namedParameter } from '../bench/parameter-text.ts';
import type {
  Attempt,
  AttemptEnd,
  ParameterValue,
  RunResults,
  RuntimeName,
  RuntimeSummary,
  TrialOutcome,
} from '../bench/types.ts';
import { groupBy, mean } from './statistics.ts';

/** What both reports say, worked out once from the record. Nothing here formats or draws. */

export interface Ranked {
  readonly trial: TrialOutcome;
  readonly value: number;
}

export interface GroupAverage {
  readonly value: string;
  /** Trials with a figure. */
  readonly count: number;
  readonly mean: number;
  readonly best: number;
}

export interface FailedAttempt {
  readonly trial: TrialOutcome;
  readonly attempt: Attempt;
  /** The trial was completed by a later attempt. */
  readonly survived: boolean;
}

export interface Summary {
  /** The runtime whose results lead: clove where it took part, else the first. null = no trial at all. */
  readonly primary: RuntimeSummary | null;
  readonly others: readonly RuntimeSummary[];
  /** Passed trials of the primary runtime with a figure, best first. */
  readonly leaderboard: readonly Ranked[];
  readonly best: Ranked | null;
  /** Names of the parameters of the grid, rows of the heat map first. */
  readonly parameters: readonly string[];
  /** Parameter that names the data (first of the heat map's rows); null = none. */
  readonly dataParameter: string | null;
  readonly bestPerData: readonly { readonly value: string; readonly best: Ranked }[];
  readonly averages: readonly { readonly parameter: string; readonly groups: readonly GroupAverage[] }[];
  /** Attempts that did not complete, of trials that never did first. */
  readonly failures: readonly FailedAttempt[];
  readonly synthetic: boolean;
  /** Trials measured on several runtimes, and those of them whose primary figure differs between runtimes. */
  readonly agreement: { readonly compared: number; readonly different: readonly string[] };
}

export function parameterLabel(results: RunResults, parameter: string): string {
  const labels = results.presentation.parameterLabels;
  return Object.hasOwn(labels, parameter) ? (labels[parameter] as string) : parameter;
}

/** Text of a parameter of a trial; "–" where the trial has none of that name. */
export function parameterText(trial: TrialOutcome, parameter: string): string {
  const value: ParameterValue | undefined = Object.hasOwn(trial.params, parameter)
    ? trial.params[parameter]
    : undefined;
  return value === undefined ? '–' : String(value);
}

/** All parameters of a trial in one line: words as they are, numbers with their names. */
export function parametersText(trial: TrialOutcome, parameters: readonly string[]): string {
  return parameters
    .map((name) => {
      const value = Object.hasOwn(trial.params, name) ? trial.params[name] : undefined;
      return value === undefined ? '–' : namedParameter(name, value);
    })
    .join(' · ');
}

/** Parameters of the grid in reading order: heat map facet, rows, columns, then the rest as they appear. */
export function gridParameters(results: RunResults): readonly string[] {
  const { rows, columns, facet } = results.presentation.heatmap;
  const names = new Set([...(facet === null ? [] : [facet]), ...rows, ...columns]);
  const present = new Set(results.trials.flatMap((trial) => Object.keys(trial.params)));
  for (const name of present) names.add(name);
  return [...names].filter((name) => present.has(name));
}

/** First segment of the path of the primary metric ("test"), and the rest ("aucRoc"); null without a dot. */
export function primarySplit(results: RunResults): { readonly part: string; readonly name: string } | null {
  const { path } = results.presentation.primaryMetric;
  const dot = path.indexOf('.');
  return dot < 0 ? null : { part: path.slice(0, dot), name: path.slice(dot + 1) };
}

export function betterFirst(results: RunResults): (a: number, b: number) => number {
  return results.presentation.primaryMetric.higherIsBetter ? (a, b) => b - a : (a, b) => a - b;
}

/** Ends for which the infrastructure and not the trial answers; never scored. */
export function isUnmeasured(end: AttemptEnd): boolean {
  return end === 'infrastructure' || end === 'interrupted';
}

export function summarise(results: RunResults): Summary {
  const primary =
    results.runtimes.find((summary) => summary.runtime === 'clove') ?? results.runtimes[0] ?? null;
  const own = results.trials.filter((trial) => trial.runtime === primary?.runtime);
  const order = betterFirst(results);
  const path = results.presentation.primaryMetric.path;
  const leaderboard = own
    .flatMap((trial) => {
      const value = trial.status === 'passed' ? metricAt(trial.metrics, path) : null;
      return value === null ? [] : [{ trial, value }];
    })
    .sort((a, b) => order(a.value, b.value) || compareText(a.trial.id, b.trial.id));
  const parameters = gridParameters(results);
  const { facet, rows } = results.presentation.heatmap;
  const dataParameter = [facet, ...rows].find((name) => name !== null && parameters.includes(name)) ?? null;
  return {
    primary,
    others: results.runtimes.filter((summary) => summary !== primary),
    leaderboard,
    best: leaderboard[0] ?? null,
    parameters,
    dataParameter,
    bestPerData: dataParameter === null ? [] : bestPer(leaderboard, dataParameter),
    averages: averagesOf(leaderboard, parameters, dataParameter, order),
    failures: failuresOf(results.trials, primary?.runtime ?? null),
    synthetic: results.provenance.some((source) => source.kind === 'synthetic'),
    agreement: agreementOf(results.trials, path),
  };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function bestPer(leaderboard: readonly Ranked[], parameter: string): Summary['bestPerData'] {
  return [...groupBy(leaderboard, (ranked) => parameterText(ranked.trial, parameter))]
    .map(([value, group]) => ({ value, best: group[0] as Ranked }))
    .sort((a, b) => compareText(a.value, b.value));
}

function averagesOf(
  leaderboard: readonly Ranked[],
  parameters: readonly string[],
  dataParameter: string | null,
  order: (a: number, b: number) => number,
): Summary['averages'] {
  return parameters
    .filter((parameter) => parameter !== dataParameter)
    .map((parameter) => ({
      parameter,
      groups: [...groupBy(leaderboard, (ranked) => parameterText(ranked.trial, parameter))]
        .map(([value, group]) => ({
          value,
          count: group.length,
          mean: mean(group.map((ranked) => ranked.value)) as number,
          best: (group[0] as Ranked).value,
        }))
        .sort((a, b) => order(a.mean, b.mean) || compareText(a.value, b.value)),
    }))
    .filter(({ groups }) => groups.length > 1);
}

function failuresOf(trials: readonly TrialOutcome[], primary: RuntimeName | null): FailedAttempt[] {
  const failures = trials.flatMap((trial) =>
    trial.attempts
      .filter((attempt) => attempt.end !== 'completed')
      .map((attempt) => ({ trial, attempt, survived: trial.status === 'passed' })),
  );
  const rank = (failure: FailedAttempt): number =>
    (failure.survived ? 2 : 0) + (failure.trial.runtime === primary ? 0 : 1);
  return failures.sort(
    (a, b) =>
      rank(a) - rank(b) ||
      compareText(a.trial.runtime, b.trial.runtime) ||
      compareText(a.trial.id, b.trial.id) ||
      a.attempt.attempt - b.attempt.attempt,
  );
}

function agreementOf(trials: readonly TrialOutcome[], path: string): Summary['agreement'] {
  let compared = 0;
  const different: string[] = [];
  for (const [id, group] of groupBy(trials, (trial) => trial.id)) {
    const values = group.flatMap((trial) => {
      const value = trial.status === 'passed' ? metricAt(trial.metrics, path) : null;
      return value === null ? [] : [value];
    });
    if (values.length < 2) continue;
    compared++;
    if (values.some((value) => value !== values[0])) different.push(id);
  }
  return { compared, different };
}
