import seedrandom from 'seedrandom';
import type {
  Attempt,
  AttemptEnd,
  FaultKind,
  LoadSample,
  RunResults,
  RuntimeName,
  RuntimeSummary,
  TrialOutcome,
  TrialParameters,
} from '../bench/types.ts';
import { LAYERS } from '../native/types.ts';
import { mean, quantileSorted, sum } from './statistics.ts';

/** Invented, seeded records for tests and previews of the reports. No figure here was measured. */

export interface FixtureOptions {
  readonly seed: number;
  readonly runtimes: readonly RuntimeName[];
  /** Trials of the grid; above 48 the grid is widened by a `repeat` parameter. */
  readonly trials: number;
  readonly slots: number;
  readonly faults: Readonly<Record<FaultKind, number>>;
  /** Text put into every place that comes from agents, data or users. */
  readonly hostile: string | null;
}

const DEFAULTS: FixtureOptions = {
  seed: 7,
  runtimes: ['clove', 'process', 'thread', 'sequential'],
  trials: 48,
  slots: 2,
  faults: { crash: 0.05, hang: 0.02, leak: 0.02 },
  hostile: null,
};

const DATASETS = { hERG: 0.79, AMES: 0.83, BBBP: 0.87, ClinTox: 0.8 } as const;
const FEATURES = { morgan: 0.02, maccs: 0.005, descriptors: -0.025 } as const;
const MODELS = {
  random_forest: [0.02, 1900],
  gradient_boosting: [0.012, 3400],
  logistic_regression: [-0.03, 420],
  svm: [0.005, 2600],
} as const;
const KINDS = ['crash', 'hang', 'leak'] as const;
const MiB = 1024 * 1024;

type Random = () => number;

interface Cell {
  readonly id: string;
  readonly params: TrialParameters;
  readonly auc: number;
  readonly costMs: number;
}

export function makeResults(overrides: Partial<FixtureOptions> = {}): RunResults {
  const options = { ...DEFAULTS, ...overrides };
  const random = seedrandom(`reports/${options.seed}`) as Random;
  const cells = grid(options, random);
  const load: LoadSample[] = [];
  const trials: TrialOutcome[] = [];
  const runtimes: RuntimeSummary[] = [];
  let clock = 4200;
  for (const runtime of options.runtimes) {
    const schedule = new Schedule(runtime, options, clock, random);
    for (const cell of cells) trials.push(schedule.run(cell));
    clock = schedule.end() + 900;
    runtimes.push(schedule.summary());
    load.push(...schedule.load());
  }
  const text = options.hostile;
  const first = runtimes[0];
  return {
    schemaVersion: 1,
    runId: '2026-11-20T05-04-17-drug-discovery-7',
    scenario: {
      name: 'drug-discovery',
      title: text ?? 'Drug discovery: toxicity and permeability models',
      version: '1.0.0',
      description:
        text ??
        'Four data sets × three molecular feature sets × four models, each cell trained from scratch.',
    },
    provenance: Object.keys(DATASETS).map((name, index) => ({
      name: text ?? `${name} (rule-labelled, synthetic)`,
      kind: 'synthetic',
      rows: [655, 7278, 2039, 1478][index] as number,
      dropped: index,
      source: text ?? `built in, seed ${options.seed}`,
      sha256: seedHex(random, 64),
      licence: text ?? 'MIT',
    })),
    status: 'complete',
    startedAt: '2026-11-20T05:04:17.000Z',
    finishedAt: new Date(Date.parse('2026-11-20T05:04:17.000Z') + clock).toISOString(),
    wallMs: clock,
    seed: options.seed,
    options: { split: 'stratified', quick: false, size: options.trials },
    faults: options.faults,
    command:
      text ??
      `clove bench run drug-discovery --seed ${options.seed} --faults crash=0.05,hang=0.02,leak=0.02 --compare process,thread,sequential`,
    machine: {
      hostnameHash: seedHex(random, 12),
      os: 'Debian GNU/Linux 12 (bookworm)',
      kernel: '6.1.0-28-amd64',
      cpuModel: text ?? 'Example CPU @ 2.60 GHz',
      cores: 2,
      memoryBytes: 8 * 1024 * MiB,
      node: '26.10.0',
      clove: '0.1.0',
      gitCommit: seedHex(random, 40),
      gitDirty: false,
    },
    isolation: LAYERS.map((layer) => ({
      layer,
      requested: layer !== 'timens' && layer !== 'overlay',
      state: layer === 'timens' || layer === 'overlay' ? 'off' : layer === 'inodes' ? 'degraded' : 'on',
      how: text ?? `checked from inside: ${layer}`,
      errno: layer === 'inodes' ? 'EOPNOTSUPP' : null,
      hint: layer === 'inodes' ? (text ?? 'Mount a file system with project quotas.') : null,
    })),
    preparations: Object.keys(DATASETS).map((name, index) => ({
      name: text ?? `${name} features`,
      key: seedHex(random, 16),
      from: index === 0 ? 'cache' : 'computed',
      wallMs: index === 0 ? 3 : 400 + 700 * random(),
      facts: { molecules: 655 + index * 100, features: 3 },
    })),
    verdict: {
      kind: first !== undefined && first.passed === first.trials ? 'pass' : 'fail',
      reason: text ?? `${first?.passed ?? 0} of ${first?.trials ?? 0} experiments completed under clove`,
      coverage: first?.completion ?? 0,
      coverageFloor: 0.95,
    },
    runtimes,
    trials: text === null ? trials : trials.map((trial) => poison(trial, text)),
    load,
    notices: [text ?? 'Disk limits by inode count are degraded on this machine.'],
    presentation: presentation(options, text),
  };
}

function presentation(options: FixtureOptions, text: string | null): RunResults['presentation'] {
  const names = {
    accuracy: 'Accuracy',
    balancedAccuracy: 'Balanced acc.',
    precision: 'Precision',
    recall: 'Recall',
    f1: 'F1',
    mcc: 'MCC',
    aucRoc: 'AUC-ROC',
    averagePrecision: 'Avg. precision',
  };
  return {
    primaryMetric: { path: 'test.aucRoc', label: text ?? 'Test AUC-ROC', higherIsBetter: true },
    metrics: Object.entries(names).map(([name, label]) => ({
      path: `test.${name}`,
      label: text ?? label,
      format: '.3f',
    })),
    heatmap: { rows: ['dataset', 'features'], columns: ['model'], facet: null },
    parameterLabels: {
      dataset: text ?? 'Data set',
      features: text ?? 'Features',
      model: text ?? 'Model',
      ...(options.trials > 48 ? { repeat: 'Repeat' } : {}),
    },
  };
}

function grid(options: FixtureOptions, random: Random): readonly Cell[] {
  const cells: Cell[] = [];
  for (let repeat = 0; cells.length < options.trials; repeat++) {
    for (const [dataset, base] of Object.entries(DATASETS)) {
      for (const [features, gain] of Object.entries(FEATURES)) {
        for (const [model, [skill, costMs]] of Object.entries(MODELS)) {
          if (cells.length >= options.trials) return cells;
          cells.push({
            id: `exp_${String(cells.length + 1).padStart(options.trials > 999 ? 4 : 3, '0')}`,
            params: { dataset, features, model, ...(options.trials > 48 ? { repeat } : {}) },
            auc: Math.min(0.98, base + gain + skill + (random() - 0.5) * 0.03),
            costMs: costMs * (dataset === 'AMES' ? 2.2 : 0.6) * (0.8 + 0.4 * random()),
          });
        }
      }
    }
  }
  return cells;
}

/** Plays trials on the slots of one runtime: enough structure for every chart and table to have something to show. */
class Schedule {
  readonly #runtime: RuntimeName;
  readonly #options: FixtureOptions;
  readonly #random: Random;
  readonly #startMs: number;
  readonly #free: number[];
  readonly #outcomes: TrialOutcome[] = [];
  #hostCrashes = 0;

  constructor(runtime: RuntimeName, options: FixtureOptions, startMs: number, random: Random) {
    this.#runtime = runtime;
    this.#options = options;
    this.#random = random;
    this.#startMs = startMs;
    this.#free = new Array<number>(runtime === 'sequential' ? 1 : options.slots).fill(startMs);
  }

  run(cell: Cell): TrialOutcome {
    const shared = this.#runtime === 'thread' || this.#runtime === 'sequential';
    const attempts: Attempt[] = [];
    for (let number = 1; number <= 3; number++) {
      const fault = this.#fault();
      const end: AttemptEnd =
        fault === null
          ? shared && this.#random() < 0.03
            ? 'collateral'
            : 'completed'
          : fault === 'crash'
            ? 'crashed'
            : fault === 'hang'
              ? 'timeout'
              : 'oom';
      if (fault !== null && shared) this.#hostCrashes++;
      attempts.push(this.#attempt(cell, number, fault, end));
      if (end === 'completed' || (shared && fault !== null)) break;
    }
    const last = attempts.at(-1) as Attempt;
    const outcome: TrialOutcome = {
      id: cell.id,
      key: `key-${cell.id}`,
      runtime: this.#runtime,
      params: cell.params,
      seed: this.#options.seed,
      status: last.end === 'completed' ? 'passed' : last.end === 'infrastructure' ? 'not_measured' : 'failed',
      attempts,
      metrics: last.result?.metrics ?? null,
      facts: last.result?.facts ?? null,
    };
    this.#outcomes.push(outcome);
    return outcome;
  }

  #fault(): FaultKind | null {
    let draw = this.#random();
    for (const kind of KINDS) {
      draw -= this.#options.faults[kind];
      if (draw < 0) return kind;
    }
    return null;
  }

  #attempt(cell: Cell, number: number, fault: FaultKind | null, end: AttemptEnd): Attempt {
    const slot = this.#free.indexOf(Math.min(...this.#free));
    const startedAtMs = this.#free[slot] as number;
    const startupMs = this.#runtime === 'clove' ? 41 : this.#runtime === 'process' ? 38 : 2;
    const computeMs = cell.costMs * (end === 'completed' ? 1 : end === 'timeout' ? 2.5 : this.#random());
    const wallMs = startupMs + computeMs;
    this.#free[slot] = startedAtMs + wallMs + 3;
    const signal = end === 'crashed' ? 'SIGABRT' : end === 'oom' || end === 'timeout' ? 'SIGKILL' : null;
    return {
      trialId: cell.id,
      runtime: this.#runtime,
      attempt: number,
      startedAtMs,
      queuedMs: startedAtMs - this.#startMs,
      slot,
      end,
      fault,
      exitCode: signal === null ? (end === 'completed' ? 0 : 1) : null,
      signal,
      error:
        end === 'completed'
          ? null
          : {
              code: end === 'timeout' ? 'TIMEOUT' : 'INTERNAL',
              message: `${cell.id} ended by ${signal ?? 'its host'}`,
            },
      usage: {
        wallMs,
        startupMs,
        computeMs,
        cpuMs: computeMs * 0.97,
        memoryPeakBytes: (60 + 90 * this.#random()) * MiB,
        memorySource:
          this.#runtime === 'clove' ? 'cgroup' : this.#runtime === 'process' ? 'maxrss' : 'shared',
      },
      logTail: `loading ${String(cell.params.dataset)}\nfitting ${String(cell.params.model)}\n`,
      result:
        end === 'completed'
          ? { metrics: metricsOf(cell.auc), facts: { trainSamples: 458, testSamples: 131, features: 1024 } }
          : null,
    };
  }

  end(): number {
    return Math.max(...this.#free);
  }

  summary(): RuntimeSummary {
    const trials = this.#outcomes;
    const attempts = trials.flatMap((trial) => trial.attempts);
    const wallMs = this.end() - this.#startMs;
    const passed = trials.filter((trial) => trial.status === 'passed').length;
    const compute = sum(attempts.map((attempt) => attempt.usage.computeMs ?? 0));
    const startups = attempts.map((attempt) => attempt.usage.startupMs ?? 0).sort((a, b) => a - b);
    const busy = compute / wallMs / 2;
    return {
      runtime: this.#runtime,
      parallel: this.#free.length,
      trials: trials.length,
      passed,
      failed: trials.length - passed,
      notMeasured: 0,
      attempts: attempts.length,
      retries: attempts.length - trials.length,
      completion: trials.length === 0 ? 0 : passed / trials.length,
      wallMs,
      trialsPerMinute: wallMs === 0 ? 0 : passed / (wallMs / 60_000),
      cpuUtilisation: busy,
      computeMsTotal: compute,
      cpuMsTotal: compute * 0.97,
      memoryPeakBytes: Math.max(0, ...attempts.map((attempt) => attempt.usage.memoryPeakBytes ?? 0)),
      overheadMsPerTrial: mean(
        attempts.map((attempt) => attempt.usage.wallMs - (attempt.usage.computeMs ?? 0) + 3),
      ),
      harnessMsPerTrial: 3,
      startupMsMedian: quantileSorted(startups, 0.5),
      lostMs: sum(attempts.filter((a) => a.end !== 'completed').map((a) => a.usage.computeMs ?? 0)),
      faultsInjected: {
        crash: attempts.filter((attempt) => attempt.fault === 'crash').length,
        hang: attempts.filter((attempt) => attempt.fault === 'hang').length,
        leak: attempts.filter((attempt) => attempt.fault === 'leak').length,
      },
      hostCrashes: this.#hostCrashes,
      collateral: attempts.filter((attempt) => attempt.end === 'collateral').length,
    };
  }

  load(): LoadSample[] {
    const samples: LoadSample[] = [];
    const attempts = this.#outcomes.flatMap((trial) => trial.attempts);
    const step = Math.max(500, (this.end() - this.#startMs) / 2000);
    for (let atMs = this.#startMs; atMs < this.end(); atMs += step) {
      const running = this.#free.length === 1 ? 1 : this.#options.slots;
      samples.push({
        runtime: this.#runtime,
        atMs,
        cpuCores: Math.min(2, running * (0.85 + 0.15 * this.#random())),
        memoryBytes: this.#runtime === 'thread' ? null : running * (80 + 50 * this.#random()) * MiB,
        machineMemoryUsedBytes: (900 + 300 * this.#random()) * MiB,
        running,
        queued: Math.max(0, attempts.length - samples.length),
      });
    }
    return samples;
  }
}

function metricsOf(auc: number): TrialOutcome['metrics'] & object {
  const part = (shift: number) => ({
    accuracy: auc - 0.05 + shift,
    balancedAccuracy: auc - 0.07 + shift,
    precision: auc - 0.03 + shift,
    recall: auc - 0.02 + shift,
    f1: auc - 0.025 + shift,
    mcc: 2 * (auc + shift) - 1.2,
    aucRoc: Math.min(1, auc + shift),
    averagePrecision: auc - 0.01 + shift,
  });
  return { train: part(0.08), valid: part(0.01), test: part(0) };
}

function poison(trial: TrialOutcome, text: string): TrialOutcome {
  return {
    ...trial,
    params: {
      ...trial.params,
      dataset: `${String(trial.params.dataset)}${text}`,
      model: `${String(trial.params.model)}${text}`,
    },
    attempts: trial.attempts.map((attempt) => ({
      ...attempt,
      logTail: `${attempt.logTail}${text}`,
      signal: attempt.signal === null ? null : text,
      error: attempt.error === null ? null : { ...attempt.error, message: text, hint: text },
    })),
    facts: { [text]: text },
  };
}

function seedHex(random: Random, length: number): string {
  let hex = '';
  while (hex.length < length) hex += Math.floor(random() * 16).toString(16);
  return hex;
}
