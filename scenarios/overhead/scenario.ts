import { extname } from 'node:path';
import { expandGrid, makeTrials, widenCells } from '../../bench/grid.ts';
import type { Scenario } from '../../bench/scenario.ts';
import { CloveError } from '../../errors/index.ts';

const VERSION = '1';
const DEFAULT_TRIALS = 48;
const QUICK_TRIALS = 8;
const GIBIBYTE = 1024 ** 3;

/** Trials that do nothing, or keep a core busy for a set time: what remains is the price of the harness and its runtime. */
const overhead: Scenario = {
  name: 'overhead',
  title: 'Harness overhead',
  description:
    'Trials that do nothing (or only keep a core busy for a set time), to measure what a trial costs beyond its work.',
  version: VERSION,
  worker: new URL(`./worker${extname(import.meta.filename)}`, import.meta.url),
  limits: { memoryBytes: GIBIBYTE, cpu: 1, maxPids: 32, timeoutMs: 60_000 },
  presentation: {
    primaryMetric: { path: 'busyMs', label: 'busy time (ms)', higherIsBetter: true },
    metrics: [{ path: 'busyMs', label: 'busy time (ms)', format: '.1f' }],
    heatmap: { rows: ['round'], columns: ['busyMs'], facet: null },
    parameterLabels: { round: 'Round', busyMs: 'Busy (ms)' },
  },
  settings: { 'busy-ms': 'Time each trial keeps one core busy, in ms (0 to 60000; default 0)' },
  async plan(options) {
    const busyMs = Number(options.set['busy-ms'] ?? '0');
    if (!(busyMs >= 0 && busyMs <= 60_000))
      throw new CloveError('USAGE', `busy-ms is a number from 0 to 60000, not "${options.set['busy-ms']}"`);
    const size = options.size ?? (options.quick ? QUICK_TRIALS : DEFAULT_TRIALS);
    const [cell] = expandGrid({ round: [1], busyMs: [busyMs] }).map((params) => ({
      params,
      seed: options.seed,
      costEstimate: 1 + busyMs,
      input: {},
    }));
    if (cell === undefined) throw new CloveError('INTERNAL', 'the grid is empty');
    const cells = widenCells([cell], size, (base, variant) => ({
      ...base,
      params: { ...base.params, round: variant + 1 },
    }));
    return {
      prepare: [],
      trials: () => makeTrials(cells, () => ({ scenario: 'overhead', version: VERSION })),
      provenance: () => [],
      notices: [],
      readOnlyPaths: [],
      resolved: { 'busy-ms': busyMs },
    };
  },
};

export default overhead;
