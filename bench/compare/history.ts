import { CloveError } from '../../errors/index.ts';
import { mean } from '../statistics/resample.ts';
import type { History, HistoryPoint, Measured, MetricDefinition } from './types.ts';

/** The course of one scenario over its runs, in order of their start. Throws USAGE without runs. */
export function historyOf(scenario: string, runs: readonly Measured[]): History {
  const own = runs
    .filter((run) => run.scenario.name === scenario)
    .sort((a, b) => a.startedAt.localeCompare(b.startedAt));
  const last = own.at(-1);
  if (last === undefined)
    throw new CloveError('USAGE', `there is no finished run of ${scenario}`, {
      hint: 'clove bench list shows the runs there are.',
    });
  const machines: string[] = [];
  const points = own.map((run): HistoryPoint => {
    const machine = `${run.machine.hostnameHash}/${run.machine.cpuModel}/${run.machine.cores}`;
    if (!machines.includes(machine)) machines.push(machine);
    return {
      runId: run.runIds[0] ?? run.label,
      startedAt: run.startedAt,
      version: run.scenario.version,
      gitCommit: run.machine.gitCommit,
      runtime: run.runtime,
      machine: machines.indexOf(machine) + 1,
      trials: run.trials.length,
      measured: run.trials.filter(({ status }) => status !== 'not_measured').length,
      means: meansOf(run, last.metrics),
    };
  });
  return { scenario, metrics: last.metrics, points };
}

function meansOf(run: Measured, metrics: readonly MetricDefinition[]): Record<string, number> {
  const means: Record<string, number> = {};
  for (const { name, scale } of metrics) {
    const values = run.trials.flatMap(({ values: own }) => own[name] ?? []);
    if (values.length === 0 || (scale === 'ratio' && values.some((value) => value <= 0))) continue;
    means[name] = scale === 'ratio' ? Math.exp(mean(values.map(Math.log))) : mean(values);
  }
  return means;
}
