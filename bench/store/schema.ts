import type { LayerReport } from '../../native/types.ts';
import type {
  FaultPlan,
  Machine,
  ParameterValue,
  Preparation,
  Presentation,
  RunResults,
  RuntimeName,
  TrialLimits,
} from '../types.ts';

export const SCHEMA_VERSION = 1;

/** What a run is: written once when it starts, and enough to go on with it later. */
export interface RunDefinition {
  readonly schemaVersion: typeof SCHEMA_VERSION;
  readonly runId: string;
  readonly scenario: RunResults['scenario'];
  /** Where it is, for one that was named by its path. */
  readonly scenarioFile?: string;
  readonly runtimes: readonly RuntimeName[];
  readonly parallel: number;
  /** Slots follow measured load instead of being taken at once. */
  readonly adaptive: boolean;
  readonly blocks: number;
  readonly maxAttempts: number;
  readonly seed: number;
  readonly faults: FaultPlan;
  readonly limits: TrialLimits;
  readonly coverageFloor: number;
  readonly command: string;
  readonly startedAt: string;
  readonly machine: Machine;
  readonly presentation: Presentation;
  /** As given; what `resume` plans the scenario with again. */
  readonly scenarioOptions: {
    readonly quick: boolean;
    readonly size: number | null;
    readonly dataDirectory: string | null;
    readonly cacheDirectory: string;
    readonly set: Readonly<Record<string, string>>;
  };
  /** The scenario's options in force, defaults filled in. */
  readonly resolved: Readonly<Record<string, ParameterValue | null>>;
  readonly provenance: RunResults['provenance'];
  /** Which part of the grid it is; `trials` = of the whole grid. Absent: all of it. */
  readonly shard?: { readonly index: number; readonly count: number; readonly trials: number };
}

/** What becomes known while it runs; each is one row that is replaced whole. */
export interface RunFacts {
  readonly preparations: readonly Preparation[];
  readonly isolation: readonly LayerReport[];
  readonly notices: readonly string[];
  /** ms it took to bring up each runtime, over all sessions. */
  readonly boots: Readonly<Partial<Record<RuntimeName, number>>>;
  readonly status: RunResults['status'];
  readonly finishedAt: string | null;
}

/** The time one runtime worked on one block, without a break. A session that was killed leaves it open; then `lastMs` counts. */
export interface Segment {
  readonly runtime: RuntimeName;
  readonly block: number;
  readonly startedAtMs: number;
  readonly lastMs: number;
}

export interface HostCrash {
  readonly runtime: RuntimeName;
  readonly atMs: number;
  readonly reason: string;
}

export const TABLES = `
  CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS trials (position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, key TEXT NOT NULL UNIQUE, json TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS attempts (
    runtime TEXT NOT NULL, trial_id TEXT NOT NULL, attempt INTEGER NOT NULL,
    ending TEXT, json TEXT NOT NULL,
    PRIMARY KEY (runtime, trial_id, attempt)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS segments (
    id INTEGER PRIMARY KEY, runtime TEXT NOT NULL, block INTEGER NOT NULL, started_ms REAL NOT NULL, last_ms REAL NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS host_crashes (runtime TEXT NOT NULL, at_ms REAL NOT NULL, reason TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS samples (runtime TEXT NOT NULL, at_ms REAL NOT NULL, json TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS lock (one INTEGER PRIMARY KEY CHECK (one = 1), pid INTEGER NOT NULL, start_ticks TEXT NOT NULL, boot_id TEXT NOT NULL) STRICT;
`;
