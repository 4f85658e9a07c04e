import type { FeatureSetName } from './chemistry/features.ts';
import { DATASETS, type DatasetName } from './data/sources.ts';
import type { ModelName } from './ml/index.ts';

/** Compute of one fit and its scores, in ms: `coefficient` × (rows / 1000) ^ `power`. Only for ordering and for the time left. */
const COST: Readonly<
  Record<
    ModelName,
    { readonly power: number; readonly coefficient: Readonly<Record<FeatureSetName, number>> }
  >
> = {
  random_forest: { power: 1.2, coefficient: { morgan: 300, maccs: 150, descriptors: 250 } },
  gradient_boosting: { power: 1, coefficient: { morgan: 300, maccs: 100, descriptors: 150 } },
  logistic_regression: { power: 1, coefficient: { morgan: 300, maccs: 50, descriptors: 10 } },
  svm: { power: 2, coefficient: { morgan: 300, maccs: 200, descriptors: 150 } },
};

export function estimateCost(dataset: DatasetName, features: FeatureSetName, model: ModelName): number {
  const { power, coefficient } = COST[model];
  return coefficient[features] * (DATASETS[dataset].rows / 1000) ** power;
}
