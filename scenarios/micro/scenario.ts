import { extname } from 'node:path';
import { expandGrid, makeTrials } from '../../bench/grid.ts';
import { MICRO_BENCHMARKS } from '../../bench/micro/benchmarks.ts';
import type { Scenario } from '../../bench/scenario.ts';
import { CloveError } from '../../errors/index.ts';
import { namesHint } from '../../errors/suggest.ts';

const VERSION = '1';
const ROUNDS = 5;
const SECONDS = 1;

/** Small measurements of Clove itself, so that its speed has a history: the trials of this grid are not agents but stopwatches. */
const micro: Scenario = {
  name: 'micro',
  title: 'Small measurements of Clove itself',
  description:
    'Syscalls, messages, state, sandboxes, worlds and clocks, each measured in a process and a kernel of its own, several rounds of each.',
  version: VERSION,
  worker: new URL(`./worker${extname(import.meta.filename)}`, import.meta.url),
  limits: { memoryBytes: 2 ** 30, cpu: 2, maxPids: 256, timeoutMs: 180_000 },
  presentation: {
    primaryMetric: { path: 'latencyUs.p50', label: 'Median (µs)', higherIsBetter: false },
    metrics: [
      { path: 'latencyUs.p50', label: 'Median (µs)', format: '.3f', scale: 'ratio', machineBound: true },
      {
        path: 'latencyUs.p99',
        label: '99th percentile (µs)',
        format: '.3f',
        scale: 'ratio',
        machineBound: true,
      },
      { path: 'latencyUs.min', label: 'Least (µs)', format: '.3f', scale: 'ratio', machineBound: true },
      {
        path: 'perSecond',
        label: 'Per second',
        format: ',.0f',
        higherIsBetter: true,
        scale: 'ratio',
        machineBound: true,
      },
    ],
    heatmap: { rows: ['name'], columns: ['round'], facet: null },
    parameterLabels: { name: 'Measurement', round: 'Round' },
  },
  settings: {
    names: `which: ${Object.keys(MICRO_BENCHMARKS).join(', ')} (default: all that this user may)`,
    rounds: `how often each is measured anew (default ${ROUNDS}; --quick: 1)`,
    seconds: `how long each time (default ${SECONDS}; --quick: 0.2)`,
  },
  async plan(options) {
    const names = namesOf(options.set.names);
    const rounds = numberOf('rounds', options.set.rounds, options.quick ? 1 : ROUNDS);
    const seconds = numberOf('seconds', options.set.seconds, options.quick ? 0.2 : SECONDS);
    if (!Number.isInteger(rounds)) throw new CloveError('USAGE', `rounds is a whole number, not ${rounds}`);
    const isRoot = process.geteuid?.() === 0;
    const possible = names.filter((name) => isRoot || MICRO_BENCHMARKS[name]?.needsRoot === false);
    const left = names.filter((name) => !possible.includes(name));
    if (possible.length === 0)
      throw new CloveError('SANDBOX_UNAVAILABLE', `${names.join(', ')} can only be measured by root`);
    // Rounds in turns: a machine that slows down meanwhile does so for all of them.
    const cells = expandGrid({
      round: Array.from({ length: rounds }, (_, round) => round + 1),
      name: possible,
    }).map((params) => ({
      params,
      seed: options.seed,
      costEstimate: 1,
      input: { measureMs: seconds * 1000 },
    }));
    return {
      prepare: [],
      trials: () => makeTrials(cells, () => ({ scenario: 'micro', version: VERSION, seconds })),
      provenance: () => [],
      notices: left.length === 0 ? [] : [`Not measured, since that needs root: ${left.join(', ')}.`],
      readOnlyPaths: [],
      resolved: { names: possible.join(','), rounds, seconds },
    };
  },
};

function namesOf(given: string | undefined): readonly string[] {
  if (given === undefined) return Object.keys(MICRO_BENCHMARKS);
  const names = given.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !Object.hasOwn(MICRO_BENCHMARKS, name));
  if (unknown !== undefined)
    throw new CloveError('USAGE', `there is no measurement "${unknown}"`, {
      hint: namesHint(unknown, Object.keys(MICRO_BENCHMARKS)),
    });
  return [...new Set(names)];
}

function numberOf(name: string, given: string | undefined, other: number): number {
  const value = given === undefined ? other : Number(given);
  if (value > 0 && value <= 1000) return value;
  throw new CloveError('USAGE', `${name} is a number up to 1000, not "${given}"`);
}

export default micro;
