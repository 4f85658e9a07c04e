import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CloveError } from '../../../errors/index.ts';
import { datasetCacheDirectory } from './directories.ts';
import { DATASETS, type DatasetName } from './sources.ts';
import { SYNTHETIC_PROVENANCE, syntheticDigest } from './synthetic.ts';

/** Where the rows of one data set come from: plain data, so that it can cross threads and be written to a record. */
export type DataSource =
  | {
      readonly kind: 'file';
      readonly dataset: DatasetName;
      readonly origin: 'directory' | 'cache';
      readonly path: string;
      /** What the terminal and the report call the data. */
      readonly provenance: string;
      /** SHA-256 of the file's bytes. */
      readonly digest: string;
      /** The file is, byte for byte, the published one. */
      readonly published: boolean;
    }
  | {
      readonly kind: 'synthetic';
      readonly dataset: DatasetName;
      readonly origin: 'built-in';
      readonly provenance: typeof SYNTHETIC_PROVENANCE;
      /** SHA-256 of the rules, seed and size. */
      readonly digest: string;
    };

/** `--data built-in` asks for the offline set even where real data is at hand. */
export const BUILT_IN = 'built-in';

export interface ResolveOptions {
  readonly datasets: readonly DatasetName[];
  /** `--data`: a directory that holds the files, or `built-in`. Without it, CLOVE_DATA; without that, the cache. */
  readonly directory?: string | undefined;
  /** Take files whose checksum is not the published one. Default: CLOVE_ALLOW_CHANGED_DATA is 1. */
  readonly allowChanged?: boolean | undefined;
  readonly environment?: NodeJS.ProcessEnv | undefined;
}

/**
 * Decides where each data set is read from: a directory that was named, else the cache that `clove data fetch` fills, else the
 * built-in offline set. All data sets come from one place: real and synthetic data are never mixed in one run.
 *
 * Throws DATA_MISSING when a named directory lacks a file or the cache holds only some of them, DATA_CORRUPT when a file
 * is not the published one (and that was not allowed), IO when it cannot be read.
 */
export function resolveSources(options: ResolveOptions): DataSource[] {
  const environment = options.environment ?? process.env;
  const allowChanged = options.allowChanged ?? environment.CLOVE_ALLOW_CHANGED_DATA === '1';
  const named = options.directory ?? (environment.CLOVE_DATA || undefined);
  if (named === BUILT_IN) return options.datasets.map(syntheticSource);
  if (named !== undefined) {
    const directory = path.resolve(named);
    return options.datasets.map((dataset) => {
      const source = fileSource(dataset, directory, 'directory', allowChanged);
      if (source !== undefined) return source;
      throw new CloveError('DATA_MISSING', `no ${DATASETS[dataset].file} (${dataset}) in ${directory}`, {
        hint: 'Name a directory that holds all data sets asked for, or leave out --data and CLOVE_DATA.',
        details: { dataset, directory },
      });
    });
  }
  const directory = datasetCacheDirectory(environment);
  const found = options.datasets.map((dataset) => fileSource(dataset, directory, 'cache', allowChanged));
  const sources = found.filter((source) => source !== undefined);
  if (sources.length === 0) return options.datasets.map(syntheticSource);
  if (sources.length === found.length) return sources;
  const missing = options.datasets.filter((_, index) => found[index] === undefined);
  throw new CloveError('DATA_MISSING', `the cache ${directory} lacks ${missing.join(', ')}`, {
    hint: 'Finish with `clove data fetch`, or use `--data built-in` for the rule-labelled set.',
    details: { directory, missing },
  });
}

export function syntheticSource(dataset: DatasetName): DataSource {
  return {
    kind: 'synthetic',
    dataset,
    origin: 'built-in',
    provenance: SYNTHETIC_PROVENANCE,
    digest: syntheticDigest(dataset),
  };
}

/** The bytes of a source's file. Throws DATA_CORRUPT when they changed since the source was resolved. */
export function readSourceFile(source: DataSource & { kind: 'file' }): string {
  const bytes = readFileIfPresent(source.path);
  if (bytes === undefined) {
    throw new CloveError('DATA_MISSING', `${source.path} is gone`, { details: { dataset: source.dataset } });
  }
  if (sha256(bytes) !== source.digest) {
    throw new CloveError('DATA_CORRUPT', `${source.path} changed while it was in use`, {
      details: { dataset: source.dataset },
    });
  }
  return bytes.toString('utf8');
}

function fileSource(
  dataset: DatasetName,
  directory: string,
  origin: 'directory' | 'cache',
  allowChanged: boolean,
): DataSource | undefined {
  const { file, sha256: expected, license } = DATASETS[dataset];
  const filePath = path.join(directory, file);
  const bytes = readFileIfPresent(filePath);
  if (bytes === undefined) return undefined;
  const digest = sha256(bytes);
  const published = digest === expected;
  if (!published && !allowChanged) {
    throw new CloveError('DATA_CORRUPT', `${filePath} is not the published ${dataset} file`, {
      hint:
        origin === 'cache'
          ? 'Run `clove data fetch` to replace it.'
          : 'Set CLOVE_ALLOW_CHANGED_DATA=1 to use it all the same; the results are then marked.',
      details: { dataset, path: filePath, expected, found: digest },
    });
  }
  const provenance = published
    ? `measured (TDC ${dataset}, ${license})`
    : 'changed file, not the published data';
  return { kind: 'file', dataset, origin, path: filePath, provenance, digest, published };
}

function readFileIfPresent(filePath: string): Buffer | undefined {
  try {
    return readFileSync(filePath);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new CloveError('IO', `cannot read ${filePath}: ${(cause as Error).message}`, { cause });
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
