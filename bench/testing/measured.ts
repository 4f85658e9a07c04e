import type { Measured, MeasuredTrial, MetricDefinition } from '../compare/types.ts';

const difference = (name: string, label: string): MetricDefinition => ({
  name,
  label,
  scale: 'difference',
  higherIsBetter: true,
  machineBound: false,
});

/** One side of a comparison with made-up values; for tests. */
export function measuredFixture(
  label: string,
  trials: readonly { values: Record<string, number>; status?: MeasuredTrial['status']; name?: string }[],
  changes: Partial<Measured> = {},
): Measured {
  return {
    label,
    runIds: [label],
    scenario: { name: 'tiny', version: '1' },
    runtime: 'clove',
    startedAt: '2026-01-02T03:04:05.000Z',
    machine: {
      hostnameHash: 'abc',
      os: 'Linux',
      kernel: '6.1',
      cpuModel: 'cpu',
      cores: 2,
      memoryBytes: 1e9,
      node: '26',
      clove: '0',
      gitCommit: null,
      gitDirty: null,
    },
    metrics: [
      {
        name: 'completion',
        label: 'Completed',
        scale: 'rate',
        higherIsBetter: true,
        machineBound: false,
      },
      difference('test.aucRoc', 'AUC'),
      difference('train.aucRoc', 'Training AUC'),
      { name: 'wall', label: 'Wall time', scale: 'ratio', higherIsBetter: false, machineBound: true },
    ],
    trials: trials.map(({ values, status = 'passed', name }, index) => ({
      key: `key-${name ?? index}`,
      id: `exp_${name ?? index}`,
      params: { cell: name ?? index },
      seed: index,
      status,
      values: {
        ...(status === 'not_measured' ? {} : { completion: status === 'passed' ? 1 : 0 }),
        ...values,
      },
    })),
    noise: {},
    ...changes,
  };
}
