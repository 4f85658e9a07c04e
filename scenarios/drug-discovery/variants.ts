import type { ModelName, ModelParameters } from './ml/index.ts';

/** Modest hyper-parameters around the defaults, for grids wider than the 48 cells: variant 1, 2 … of a cell take them in turn. */
const VARIANTS: Readonly<Record<ModelName, readonly ModelParameters[]>> = {
  random_forest: [
    {},
    { minSamplesLeaf: 2 },
    { maxFeatures: 'log2' },
    { nEstimators: 50 },
    { maxDepth: 16 },
    { minSamplesLeaf: 4 },
  ],
  gradient_boosting: [
    {},
    { learningRate: 0.05 },
    { maxDepth: 2 },
    { subsample: 0.7 },
    { learningRate: 0.2 },
    { nEstimators: 60 },
  ],
  logistic_regression: [{}, { c: 0.1 }, { c: 10 }, { c: 0.01 }, { c: 0.3 }, { c: 3 }],
  svm: [{}, { c: 3 }, { c: 0.3 }, { c: 10 }, { gamma: 'auto' }, { c: 2 }],
};

/** Parameters of variant `number` (from 1) of a model; {} = the defaults, then only the seed differs. */
export function variantParameters(model: ModelName, number: number): ModelParameters {
  const all = VARIANTS[model];
  return all[number % all.length] as ModelParameters;
}
