import { createHash } from 'node:crypto';
import path from 'node:path';
import { isCloveError } from '../../../errors/index.ts';
import {
  allocateFeatures,
  FEATURE_DEFINITION_VERSION,
  FEATURE_SETS,
  type FeatureSetName,
  selectRows,
  writeFeatures,
} from '../chemistry/features.ts';
import { loadRdkit, parseSmiles, rdkitPackageVersion } from '../chemistry/rdkit.ts';
import { scaffoldSmiles } from '../chemistry/scaffold.ts';
import { removeStaleTemporaries, writeFileAtomically } from './atomic-write.ts';
import { DistinctMolecules } from './distinct.ts';
import { encodeFeatures, type Features, type FeaturesHeader, readFeatures } from './features-file.ts';
import { type DroppedRow, type DropReason, loadDataset } from './load.ts';
import type { DataSource } from './resolve.ts';
import type { DatasetName } from './sources.ts';

/** Goes up whenever the file's form, the treatment of repeated molecules or the scaffolds change. */
const PREPARATION_VERSION = 1;

const MAX_DROPPED_LISTED = 100;

export interface PrepareRequest {
  readonly source: DataSource;
  readonly featureSets: readonly FeatureSetName[];
  /** Where features are kept, e.g. `featureCacheDirectory()`. */
  readonly cacheDirectory: string;
}

/** Plain data: it crosses threads. */
export interface PreparedDataset {
  readonly dataset: DatasetName;
  readonly provenance: string;
  /** Absolute path of the features file of each set asked for. */
  readonly files: Readonly<Partial<Record<FeatureSetName, string>>>;
  readonly rows: number;
  readonly positives: number;
  readonly droppedCounts: Readonly<Partial<Record<DropReason, number>>>;
  /** The first 100 at most. */
  readonly dropped: readonly DroppedRow[];
  /** Feature sets that were not in the cache. */
  readonly computed: readonly FeatureSetName[];
  /** Feature sets whose cached file was damaged, and was replaced. */
  readonly repaired: readonly FeatureSetName[];
}

/**
 * Sees to it that the features asked for are in the cache, computing only those that are not. A cached file is found by the digest
 * of its source, the version of RDKit and of the definitions, so that it is never stale; it is checked before it is trusted.
 * Throws what `loadDataset` throws, and IO when the cache cannot be written.
 */
export async function prepareFeatures(request: PrepareRequest): Promise<PreparedDataset> {
  const { source, cacheDirectory } = request;
  const files: Partial<Record<FeatureSetName, string>> = {};
  const computed: FeatureSetName[] = [];
  const repaired: FeatureSetName[] = [];
  let summary: Features | undefined;
  for (const name of new Set(request.featureSets)) {
    const file = path.resolve(cacheDirectory, featuresFileName(source, name));
    files[name] = file;
    const cached = readCached(file);
    if (cached === undefined || cached === 'damaged') computed.push(name);
    else summary = cached;
    if (cached === 'damaged') repaired.push(name);
  }
  if (computed.length > 0) {
    removeStaleTemporaries(cacheDirectory);
    for (const [name, features] of await computeFeatures(source, computed)) {
      writeFileAtomically(files[name]!, encodeFeatures(features));
      summary = features;
    }
  }
  return {
    dataset: source.dataset,
    provenance: source.provenance,
    files,
    rows: summary?.matrix.rows ?? 0,
    positives: summary?.labels.reduce((sum, label) => sum + label, 0) ?? 0,
    droppedCounts: summary?.header.droppedCounts ?? {},
    dropped: summary?.header.dropped ?? [],
    computed,
    repaired,
  };
}

/** Names the content: equal names mean equal features. */
export function featuresFileName(source: DataSource, name: FeatureSetName): string {
  const key = JSON.stringify([
    PREPARATION_VERSION,
    FEATURE_DEFINITION_VERSION,
    FEATURE_SETS[name],
    rdkitPackageVersion(),
    source.kind,
    source.dataset,
    source.provenance,
    source.digest,
  ]);
  const digest = createHash('sha256').update(key).digest('hex');
  return `${source.dataset.toLowerCase()}-${name}-${digest.slice(0, 32)}.features`;
}

function readCached(file: string): Features | 'damaged' | undefined {
  try {
    return readFeatures(file);
  } catch (error) {
    if (isCloveError(error) && error.code === 'DATA_MISSING') return undefined;
    if (isCloveError(error) && error.code === 'DATA_CORRUPT') return 'damaged';
    throw error;
  }
}

/** Parses each molecule once and computes all feature sets asked for. */
async function computeFeatures(
  source: DataSource,
  names: readonly FeatureSetName[],
): Promise<Map<FeatureSetName, Features>> {
  const loaded = await loadDataset(source);
  const rdkit = await loadRdkit();
  const dropped = [...loaded.dropped];
  const matrices = new Map(names.map((name) => [name, allocateFeatures(name, loaded.rows.length)]));
  const molecules = new DistinctMolecules();
  const scaffoldSmilesOf: string[] = [];
  const knownScaffolds = new Map<string, string>();
  for (const row of loaded.rows) {
    using molecule = parseSmiles(rdkit, row.smiles);
    if (molecule === null) {
      dropped.push({ line: row.line, id: row.id, reason: 'unparsable' });
      continue;
    }
    const index = molecules.add(row, molecule.get_smiles());
    if (index === undefined) continue;
    scaffoldSmilesOf.push(scaffoldSmiles(rdkit, molecule, knownScaffolds));
    for (const [name, matrix] of matrices) writeFeatures(name, molecule, matrix, index);
  }
  const kept = molecules.keptIndices();
  dropped.push(...molecules.dropped);
  dropped.sort((a, b) => a.line - b.line);

  const labels = Uint8Array.from(kept, (index) => molecules.rows[index]!.label);
  const groups = new Map<string, number>();
  const scaffolds = Int32Array.from(kept, (index) =>
    groups.getOrInsertComputed(scaffoldSmilesOf[index]!, () => groups.size),
  );
  const droppedCounts: Partial<Record<DropReason, number>> = {};
  for (const { reason } of dropped) droppedCounts[reason] = (droppedCounts[reason] ?? 0) + 1;
  return new Map(
    names.map((name) => {
      const matrix = selectRows(matrices.get(name)!, kept);
      const header: FeaturesHeader = {
        dataset: source.dataset,
        featureSet: name,
        kind: matrix.kind,
        rows: matrix.rows,
        columns: matrix.columns,
        provenance: source.provenance,
        sourceDigest: source.digest,
        rdkitVersion: rdkit.version(),
        droppedCounts,
        dropped: dropped.slice(0, MAX_DROPPED_LISTED),
      };
      return [name, { matrix, labels, scaffolds, header }];
    }),
  );
}
