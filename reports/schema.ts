import { z } from 'zod';
import type { RunResults } from '../bench/types.ts';
import { CloveError } from '../errors/index.ts';
import { LAYERS } from '../native/types.ts';
import { fleet } from './schema-fleet.ts';
import {
  bytes,
  count,
  errorData,
  facts,
  fraction,
  metricTree,
  ms,
  params,
  runtime,
  usage,
} from './schema-values.ts';

/**
 * The schema of results.json. Descriptions are written here once; docs/results.schema.json is generated from them.
 * A compile-time check below holds it to `RunResults`.
 */

const attempt = z
  .strictObject({
    trialId: z.string(),
    runtime,
    attempt: z.int().min(0),
    startedAtMs: z.number().describe("ms since the run's start, on a monotonic clock."),
    queuedMs: ms,
    slot: count.describe('Which of the parallel places it ran in, 0-based.'),
    end: z
      .enum([
        'completed',
        'error',
        'crashed',
        'timeout',
        'oom',
        'collateral',
        'infrastructure',
        'interrupted',
      ])
      .describe(
        "How it ended. 'collateral' = died because another trial in the same process died; 'infrastructure' and 'interrupted' are never scored.",
      ),
    fault: z.enum(['crash', 'hang', 'leak']).nullable().describe('Fault injected into this attempt.'),
    exitCode: z.int().nullable(),
    signal: z.string().nullable(),
    error: errorData.nullable(),
    usage,
    logTail: z.string().describe('Last lines of output, at most 8 KiB. Untrusted text.'),
    result: z.strictObject({ metrics: metricTree, facts, fleet: z.exactOptional(fleet) }).nullable(),
  })
  .meta({ id: 'Attempt' });

const trial = z
  .strictObject({
    id: z.string().describe('"exp_001": position in the grid. Unique together with runtime.'),
    key: z.string().describe('Content hash of scenario version, params and seed.'),
    runtime,
    params,
    seed: z.number(),
    status: z.enum(['passed', 'failed', 'not_measured']),
    attempts: z.array(attempt),
    metrics: metricTree.nullable(),
    facts: facts.nullable(),
  })
  .meta({ id: 'Trial' });

const summary = z
  .strictObject({
    runtime,
    parallel: count,
    trials: count,
    passed: count,
    failed: count,
    notMeasured: count,
    attempts: count,
    retries: count,
    completion: fraction.describe('passed / trials.'),
    wallMs: ms,
    trialsPerMinute: z.number().min(0),
    cpuUtilisation: z
      .number()
      .min(0)
      .nullable()
      .describe('Mean busy cores of the machine / cores, while this runtime worked.'),
    computeMsTotal: ms,
    cpuMsTotal: ms.nullable(),
    memoryPeakBytes: bytes.nullable(),
    overheadMsPerTrial: z
      .number()
      .nullable()
      .describe(
        'Slot time not spent inside trials, per attempt that ran to its end: its wall − its compute, plus the gap before it on its slot.',
      ),
    harnessMsPerTrial: z
      .exactOptional(z.number().nullable())
      .describe("The bench's own part of the overhead: the mean gap between two attempts on one slot."),
    startupMsMedian: ms.nullable(),
    lostMs: ms.describe('Compute of attempts that did not lead to a result.'),
    faultsInjected: z.strictObject({ crash: count, hang: count, leak: count }),
    hostCrashes: count.describe('Times the process that hosts several trials died.'),
    collateral: count.describe('Attempts that died because of another trial.'),
  })
  .meta({ id: 'RuntimeSummary' });

const layer = z
  .strictObject({
    layer: z.enum(LAYERS),
    requested: z.boolean(),
    state: z.enum(['on', 'off', 'degraded', 'n/a']),
    how: z.string(),
    errno: z.string().nullable(),
    hint: z.string().nullable(),
  })
  .meta({ id: 'Layer' });

const metric = z.strictObject({
  path: z.string().describe('Into metrics, with dots: "test.aucRoc".'),
  label: z.string(),
  format: z.string().describe('d3-format specifier, e.g. ".3f".'),
  higherIsBetter: z
    .exactOptional(z.boolean())
    .describe('Which way is good; as the leading metric where absent.'),
  scale: z
    .exactOptional(z.enum(['difference', 'ratio']))
    .describe('How it is compared; by differences where absent.'),
  machineBound: z
    .exactOptional(z.boolean())
    .describe('It says as much about the machine as about the trial.'),
});

export const resultsSchema = z
  .strictObject({
    schemaVersion: z.literal(1),
    runId: z.string(),
    scenario: z.strictObject({
      name: z.string(),
      title: z.string(),
      version: z.string(),
      description: z.string(),
    }),
    provenance: z
      .array(
        z.strictObject({
          name: z.string(),
          kind: z.enum(['measured', 'synthetic']),
          rows: count,
          dropped: count,
          source: z.string(),
          sha256: z.string(),
          licence: z.string(),
        }),
      )
      .describe('Data the results rest on.'),
    status: z.enum(['complete', 'interrupted', 'running']),
    startedAt: z.iso.datetime({ offset: true }),
    finishedAt: z.iso.datetime({ offset: true }).nullable(),
    wallMs: ms,
    seed: z.number(),
    options: facts,
    faults: z.strictObject({
      crash: z.exactOptional(fraction),
      hang: z.exactOptional(fraction),
      leak: z.exactOptional(fraction),
    }),
    command: z.string().describe('The command that reproduces this run.'),
    machine: z.strictObject({
      hostnameHash: z.string(),
      os: z.string(),
      kernel: z.string(),
      cpuModel: z.string(),
      cores: z.int().min(1),
      memoryBytes: bytes,
      node: z.string(),
      clove: z.string(),
      gitCommit: z.string().nullable(),
      gitDirty: z.boolean().nullable(),
    }),
    isolation: z.array(layer).describe('What became of every layer of the sandbox.'),
    preparations: z.array(
      z.strictObject({
        name: z.string(),
        key: z.string(),
        from: z.enum(['computed', 'cache']),
        wallMs: ms,
        facts,
      }),
    ),
    verdict: z.strictObject({
      kind: z.enum(['pass', 'fail', 'no_verdict']),
      reason: z.string(),
      coverage: fraction,
      coverageFloor: fraction,
    }),
    runtimes: z.array(summary),
    trials: z.array(trial).describe('One entry per trial and runtime.'),
    load: z.array(
      z.strictObject({
        runtime,
        atMs: z.number(),
        cpuCores: z.number().min(0),
        memoryBytes: bytes.nullable(),
        machineMemoryUsedBytes: bytes,
        running: count,
        queued: count,
      }),
    ),
    notices: z.array(z.string()).describe('Things the reader must know: degradations, noise, resumption.'),
    presentation: z.strictObject({
      primaryMetric: z.strictObject({ path: z.string(), label: z.string(), higherIsBetter: z.boolean() }),
      metrics: z.array(metric),
      heatmap: z.strictObject({
        rows: z.array(z.string()),
        columns: z.array(z.string()),
        facet: z.string().nullable(),
      }),
      parameterLabels: z.record(z.string(), z.string()),
    }),
  })
  .meta({ title: 'Clove results.json', description: 'The record of one bench run, version 1.' });

type Inferred = z.infer<typeof resultsSchema>;
type Extends<A extends B, B> = A;
/** Readonly and with no optional key at every depth: an optional key that one side lacks is then a mistake. */
type Complete<T> = T extends object ? { readonly [K in keyof T]-?: Complete<Exclude<T[K], undefined>> } : T;
/** Fails to compile when schema and contract part ways, in either direction. */
export type SchemaMatchesContract = [
  Extends<Inferred, RunResults>,
  Extends<Complete<Inferred>, Complete<RunResults>>,
  Extends<Complete<RunResults>, Complete<Inferred>>,
];

/** "trials[3].attempts[0].usage.wallMs", as a reader would write it. */
function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    return text === '' ? String(step) : `${text}.${String(step)}`;
  }, '');
}

function validate(value: unknown): ReturnType<typeof resultsSchema.safeParse> {
  try {
    return resultsSchema.safeParse(value);
  } catch (cause) {
    // Figures nested thousands deep exhaust the stack of the validator.
    if (cause instanceof RangeError) {
      throw new CloveError('DATA_CORRUPT', 'results.json is nested too deeply', { cause });
    }
    throw cause;
  }
}

/**
 * Validates the content of a results.json, as text or as a parsed value.
 * Throws CloveError DATA_CORRUPT naming the first wrong path; `details.problems` lists up to ten.
 */
export function parseResults(json: unknown): RunResults {
  let value = json;
  if (typeof json === 'string') {
    try {
      value = JSON.parse(json);
    } catch (cause) {
      throw new CloveError('DATA_CORRUPT', 'results.json is not JSON', {
        cause,
        hint: 'The file may have been cut off; draw it again with `clove bench report`.',
      });
    }
  }
  const parsed = validate(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.slice(0, 10).map((issue) => ({
    path: pathText(issue.path),
    message: issue.message,
  }));
  const first = problems[0] as { path: string; message: string };
  throw new CloveError('DATA_CORRUPT', `results.json: ${first.path || '(root)'}: ${first.message}`, {
    hint: 'docs/results.md describes the form it must have.',
    details: { problems, total: parsed.error.issues.length },
  });
}
