import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { Luck } from '../../worlds/index.ts';
import { bootstrapMean, standardDeviation } from '../statistics/resample.ts';
import { writeFileAtomically } from '../write-file.ts';
import { differencesOf } from './change.ts';
import { pairTrials } from './pairs.ts';
import type { Measured, NoiseFloor } from './types.ts';

/** A baseline file: one side of a comparison, small enough to be committed, with what its repetitions differed by. */
const baselineSchema = z.strictObject({
  format: z.literal('clove-baseline'),
  version: z.literal(1),
  label: z.string(),
  runIds: z.array(z.string()).min(1),
  scenario: z.strictObject({ name: z.string(), version: z.string() }),
  runtime: z.string(),
  startedAt: z.iso.datetime({ offset: true }),
  machine: z.strictObject({
    hostnameHash: z.string(),
    os: z.string(),
    kernel: z.string(),
    cpuModel: z.string(),
    cores: z.int().min(1),
    memoryBytes: z.number().min(0),
    node: z.string(),
    clove: z.string(),
    gitCommit: z.string().nullable(),
    gitDirty: z.boolean().nullable(),
  }),
  metrics: z.array(
    z.strictObject({
      name: z.string(),
      label: z.string(),
      scale: z.enum(['difference', 'ratio', 'rate']),
      higherIsBetter: z.boolean(),
      machineBound: z.boolean(),
    }),
  ),
  trials: z
    .array(
      z.strictObject({
        key: z.string(),
        id: z.string(),
        params: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
        seed: z.number(),
        status: z.enum(['passed', 'failed', 'not_measured']),
        values: z.record(z.string(), z.number()),
      }),
    )
    .max(1_000_000),
  noise: z.record(
    z.string(),
    z.strictObject({ pairs: z.int().min(1), deviation: z.number().min(0), effect: z.number().min(0) }),
  ),
});

/** Below this many A/A pairs a noise floor would be noise itself. */
const NOISE_PAIRS = 5;

/**
 * The first run is the baseline; the others repeat it, and their differences from it are its noise floor per metric. Throws USAGE when
 * a repetition shares no trial with the first.
 */
export function baselineOf(runs: readonly [Measured, ...Measured[]], level = 0.95, seed = 42): Measured {
  const [first, ...repetitions] = runs;
  const noise: Record<string, NoiseFloor> = {};
  const paired = repetitions.map((repetition) => {
    const pairs = pairTrials(first, repetition);
    if (pairs.length === 0)
      throw new CloveError('USAGE', `${repetition.label} repeats no trial of ${first.label}`, {
        hint: 'A noise floor takes runs of the same scenario with the same seed and options.',
      });
    return pairs;
  });
  for (const metric of first.metrics) {
    const each = paired.map((pairs) => differencesOf(pairs, metric).differences);
    const differences = each.flat();
    if (differences.length < NOISE_PAIRS) continue;
    const random = new Luck(seed).stream(`noise/${metric.name}`);
    // Per repetition: averaged over several, drifts of opposite sign would hide each other.
    const ends = each
      .filter((own) => own.length > 0)
      .map((own) => bootstrapMean(own, random, level))
      .flatMap(({ low, high }) => [Math.abs(low), Math.abs(high)]);
    noise[metric.name] = {
      pairs: differences.length,
      deviation: standardDeviation(differences),
      effect: Math.max(...ends),
    };
  }
  return { ...first, runIds: runs.flatMap(({ runIds }) => runIds), noise };
}

/** Appears whole or not at all. Throws IO. */
export function writeBaseline(file: string, baseline: Measured): void {
  const document = { format: 'clove-baseline', version: 1, ...baseline };
  writeFileAtomically(file, `${JSON.stringify(document, null, 1)}\n`);
}

/** null when the value is something else (a results.json). Throws DATA_CORRUPT for a damaged baseline. */
export function parseBaseline(value: unknown, file: string): Measured | null {
  if (typeof value !== 'object' || value === null || !('format' in value)) return null;
  const parsed = baselineSchema.safeParse(value);
  if (!parsed.success)
    throw new CloveError('DATA_CORRUPT', `${file} is no baseline: ${z.prettifyError(parsed.error)}`);
  const { format, version, ...measured } = parsed.data;
  return measured as Measured;
}

/** The JSON in a file. Throws DATA_MISSING, DATA_CORRUPT. */
export function readJson(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new CloveError('DATA_MISSING', `cannot read ${file}`, { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CloveError('DATA_CORRUPT', `${file} is not JSON`, { cause });
  }
}
