import { CloveError } from '../../../errors/index.ts';
import type { ModelName, ModelParameters, ParametersByModel } from './types.ts';

export const DEFAULT_PARAMETERS: ParametersByModel = Object.freeze({
  random_forest: Object.freeze({
    nEstimators: 100,
    maxDepth: null,
    minSamplesSplit: 2,
    minSamplesLeaf: 1,
    maxFeatures: 'sqrt',
    bootstrap: true,
  }),
  gradient_boosting: Object.freeze({
    nEstimators: 100,
    learningRate: 0.1,
    maxDepth: 3,
    minSamplesSplit: 2,
    minSamplesLeaf: 1,
    subsample: 1,
  }),
  logistic_regression: Object.freeze({ c: 1, maxIter: 1000, tol: 1e-9 }),
  svm: Object.freeze({ c: 1, gamma: 'scale', tol: 1e-3 }),
});

const positive = (v: unknown) => typeof v === 'number' && Number.isFinite(v) && v > 0;
const share = (v: unknown) => positive(v) && (v as number) <= 1;
const atLeast = (least: number) => (v: unknown) => Number.isSafeInteger(v) && (v as number) >= least;

/** What a value must be, in the words of the error message. */
const RULES: Record<string, { readonly holds: (value: unknown) => boolean; readonly must: string }> = {
  nEstimators: { holds: atLeast(1), must: 'a whole number ≥ 1' },
  minSamplesSplit: { holds: atLeast(2), must: 'a whole number ≥ 2' },
  minSamplesLeaf: { holds: atLeast(1), must: 'a whole number ≥ 1' },
  maxIter: { holds: atLeast(1), must: 'a whole number ≥ 1' },
  maxFeatures: {
    holds: (v) => v === null || v === 'sqrt' || v === 'log2' || share(v),
    must: "'sqrt', 'log2', a share in (0, 1] or null",
  },
  bootstrap: { holds: (v) => typeof v === 'boolean', must: 'true or false' },
  learningRate: { holds: positive, must: 'a number > 0' },
  subsample: { holds: share, must: 'a share in (0, 1]' },
  c: { holds: positive, must: 'a number > 0' },
  tol: { holds: positive, must: 'a number > 0' },
  gamma: {
    holds: (v) => v === 'scale' || v === 'auto' || positive(v),
    must: "'scale', 'auto' or a number > 0",
  },
};

const DEPTH = { holds: atLeast(1), must: 'a whole number ≥ 1' };
const DEPTH_OR_NONE = {
  holds: (v: unknown) => v === null || DEPTH.holds(v),
  must: 'a whole number ≥ 1 or null',
};

/** Fills in the model's defaults. Throws CONFIG for a parameter the model has not or a value out of range. */
export function resolveParameters<M extends ModelName>(
  model: M,
  given: ModelParameters,
): ParametersByModel[M] {
  const resolved: Record<string, unknown> = { ...DEFAULT_PARAMETERS[model] };
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(resolved, name)) {
      throw new CloveError('CONFIG', `${model} has no parameter ${name}`, {
        hint: `It takes ${Object.keys(resolved).join(', ')}.`,
      });
    }
    const rule =
      name === 'maxDepth'
        ? model === 'random_forest'
          ? DEPTH_OR_NONE
          : DEPTH
        : (RULES[name] as typeof DEPTH);
    if (!rule.holds(value)) {
      throw new CloveError('CONFIG', `${model}: ${name} must be ${rule.must}, not ${JSON.stringify(value)}`);
    }
    resolved[name] = value;
  }
  return resolved as unknown as ParametersByModel[M];
}
