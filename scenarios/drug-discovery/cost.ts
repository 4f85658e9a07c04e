import type { FeatureSetName } from './chemistry/features.ts';
import { DATASETS, type DatasetName } from './data/sources.ts';
import type { ModelName } from './ml/index.ts';

/** What every fit costs in a process that has just started: reading, compiling. ms */
const BASE_MS = 25;

/**
 * Compute of one fit and its scores beyond that, in ms: `coefficient` × (rows / 1000) ^ `power`, as measured on one core of a
 * small cloud machine. Only for ordering and for the time left.
 */
const COST: Readonly<
  Record<
    ModelName,
    { readonly power: number; readonly coefficient: Readonly<Record<FeatureSetName, number>> }
  >
> = {
  random_forest: { power: 1.2, coefficient: { morgan: 68, maccs: 26, descriptors: 35 } },
  gradient_boosting: { power: 1, coefficient: { morgan: 16, maccs: 12, descriptors: 30 } },
  logistic_regression: { power: 1, coefficient: { morgan: 11, maccs: 10, descriptors: 5 } },
  svm: { power: 2, coefficient: { morgan: 23, maccs: 23, descriptors: 23 } },
};

export function estimateCost(dataset: DatasetName, features: FeatureSetName, model: ModelName): number {
  const { power, coefficient } = COST[model];
  return Math.round(BASE_MS + coefficient[features] * (DATASETS[dataset].rows / 1000) ** power);
}
