import { CloveError } from '../../errors/index.ts';
import { metricAt } from '../metric.ts';
import type { Attempt, RunResults, RuntimeName, TrialOutcome } from '../types.ts';
import type { Measured, MeasuredTrial, MetricDefinition } from './types.ts';

interface OwnMetric extends MetricDefinition {
  readonly of: (attempt: Attempt) => number | null;
}

const own = (name: string, label: string, of: OwnMetric['of']): OwnMetric => ({
  name,
  label,
  scale: 'ratio',
  higherIsBetter: false,
  machineBound: true,
  of,
});

/** What the bench measures of every trial, whatever the scenario; of the attempt that completed. */
const OWN_METRICS: readonly OwnMetric[] = [
  own('wall', 'Wall time per trial', ({ usage }) => usage.wallMs),
  own('compute', 'Compute per trial', ({ usage }) => usage.computeMs),
  own('cpu', 'CPU time per trial', ({ usage }) => usage.cpuMs),
  own('memory', 'Peak memory per trial', ({ usage }) =>
    usage.memorySource === 'shared' ? null : usage.memoryPeakBytes,
  ),
  own('startup', 'Start-up per trial', ({ usage }) => usage.startupMs),
];

const COMPLETION: MetricDefinition = {
  name: 'completion',
  label: 'Completed',
  scale: 'rate',
  higherIsBetter: true,
  machineBound: false,
};

/** One runtime of a run, reduced to what is compared. Throws USAGE when the run did not use the runtime. */
export function measuredOf(results: RunResults, wanted?: RuntimeName): Measured {
  const used = results.runtimes.map(({ runtime }) => runtime);
  const runtime = wanted ?? used[0];
  if (runtime === undefined || !used.includes(runtime))
    throw new CloveError('USAGE', `run ${results.runId} did not use the runtime ${wanted ?? '(none)'}`, {
      hint: `It used ${used.join(', ') || 'none'}.`,
    });
  const { primaryMetric, metrics } = results.presentation;
  const reported: MetricDefinition[] = metrics.map((metric) => ({
    name: metric.path,
    label: metric.label,
    scale: metric.scale ?? 'difference',
    higherIsBetter:
      metric.path === primaryMetric.path
        ? primaryMetric.higherIsBetter
        : (metric.higherIsBetter ?? primaryMetric.higherIsBetter),
    machineBound: metric.machineBound ?? false,
  }));
  if (!reported.some(({ name }) => name === primaryMetric.path))
    reported.unshift({
      name: primaryMetric.path,
      label: primaryMetric.label,
      scale: 'difference',
      higherIsBetter: primaryMetric.higherIsBetter,
      machineBound: false,
    });
  // The leading metric first: it is what a reader looks for.
  reported.sort((a, b) => Number(b.name === primaryMetric.path) - Number(a.name === primaryMetric.path));
  return {
    label: used.length > 1 ? `${results.runId}@${runtime}` : results.runId,
    runIds: [results.runId],
    scenario: { name: results.scenario.name, version: results.scenario.version },
    runtime,
    startedAt: results.startedAt,
    machine: results.machine,
    metrics: [COMPLETION, ...reported, ...OWN_METRICS.map(({ of, ...definition }) => definition)],
    trials: results.trials
      .filter((trial) => trial.runtime === runtime)
      .map((trial) => measuredTrial(trial, reported)),
    noise: {},
  };
}

function measuredTrial(trial: TrialOutcome, reported: readonly MetricDefinition[]): MeasuredTrial {
  const values: Record<string, number> = {};
  if (trial.status !== 'not_measured') values[COMPLETION.name] = trial.status === 'passed' ? 1 : 0;
  for (const { name } of reported) {
    const value = metricAt(trial.metrics, name);
    if (value !== null) values[name] = value;
  }
  const completed = trial.attempts.find((attempt) => attempt.end === 'completed');
  if (completed !== undefined) {
    for (const { name, of } of OWN_METRICS) {
      const value = of(completed);
      if (value !== null) values[name] = value;
    }
  }
  const { key, id, params, seed, status } = trial;
  return { key, id, params, seed, status, values };
}

/**
 * The metric somebody means: its name, the last part of a path ("aucRoc"), its label, or an unambiguous beginning of the last part
 * ("auc"). Where several paths share the last part, the earliest counts: the leading metric stands first. Throws USAGE.
 */
export function resolveMetric(metrics: readonly MetricDefinition[], wanted: string): MetricDefinition {
  const text = wanted.toLowerCase();
  const last = ({ name }: MetricDefinition) => (name.split('.').at(-1) ?? name).toLowerCase();
  const found =
    metrics.find(({ name }) => name.toLowerCase() === text) ??
    metrics.find((metric) => last(metric) === text) ??
    metrics.find(({ label }) => label.toLowerCase() === text) ??
    unambiguous(
      metrics.filter((metric) => last(metric).startsWith(text)),
      last,
    );
  if (found !== undefined) return found;
  throw new CloveError('USAGE', `there is no metric "${wanted}" in both runs`, {
    hint: `There are ${metrics.map(({ name }) => name).join(', ')}.`,
  });
}

function unambiguous<T>(items: readonly T[], name: (item: T) => string): T | undefined {
  return new Set(items.map(name)).size === 1 ? items[0] : undefined;
}
