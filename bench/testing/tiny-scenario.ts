import { extname } from 'node:path';
import { expandGrid, makeTrials } from '../grid.ts';
import type { Scenario } from '../scenario.ts';

/**
 * A scenario for tests: `trials` trials of `work-ms` each, the first of them with `action`
 * (ok, throw, throw-once, exit, hang); `journal` = a file that gets a line for every trial that did its work.
 */
export const tinyScenario: Scenario = {
  name: 'tiny',
  title: 'Tiny',
  description: 'Trials for tests of the bench.',
  version: '1',
  worker: new URL(`./tiny-worker${extname(import.meta.filename)}`, import.meta.url),
  limits: { memoryBytes: 256 * 1024 ** 2, cpu: 1, maxPids: 32, timeoutMs: 20_000 },
  presentation: {
    primaryMetric: { path: 'test.score', label: 'Score', higherIsBetter: true },
    metrics: [{ path: 'test.score', label: 'Score', format: '.2f' }],
    heatmap: { rows: ['index'], columns: ['action'], facet: null },
    parameterLabels: {},
  },
  settings: { trials: 'How many', 'work-ms': 'Busy time', action: 'What the first does', journal: 'A file' },
  async plan(options) {
    const count = Number(options.set.trials ?? '6');
    const workMs = Number(options.set['work-ms'] ?? '5');
    const action = options.set.action ?? 'ok';
    const journal = options.set.journal ?? null;
    const cells = expandGrid({ index: Array.from({ length: count }, (_, index) => index) }).map((params) => ({
      params: { ...params, workMs, action: params.index === 0 ? action : 'ok' },
      seed: options.seed,
      costEstimate: params.index === 0 ? 2 : 1,
      input: { journal },
    }));
    return {
      prepare: [],
      trials: () => makeTrials(cells, () => ({ scenario: 'tiny', version: '1' })),
      provenance: () => [],
      notices: [],
      readOnlyPaths: [],
      resolved: { trials: count, 'work-ms': workMs, action, journal },
    };
  },
};

export default tinyScenario;
