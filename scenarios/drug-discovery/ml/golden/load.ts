import { readFileSync } from 'node:fs';
import type { ClassificationMetrics } from '../metrics.ts';
import type { ModelName } from '../types.ts';

/** What make_golden.py wrote; parameters are in scikit-learn's own spelling. */
export interface SyntheticGolden {
  readonly sigmoid: { readonly slope: number; readonly offset: number };
  readonly dense: InputGolden;
  readonly bits: InputGolden;
}

export interface InputGolden {
  readonly checksum: { readonly sum: number; readonly positives: number };
  readonly logistic_regression: Readonly<
    Record<
      string,
      {
        readonly coefficients: readonly number[];
        readonly intercept: number;
        readonly probability: readonly number[];
      }
    >
  >;
  readonly svm: readonly {
    readonly c: number;
    readonly gamma: 'scale' | 'auto' | number;
    readonly resolvedGamma: number;
    readonly support: number;
    readonly bias: number;
    /** At tol 1e-6. */
    readonly decision: readonly number[];
    readonly defaultTolDecision: readonly number[];
    readonly probability: readonly number[];
    readonly aucRoc: number;
  }[];
  readonly gradient_boosting: readonly {
    readonly parameters: Readonly<Record<string, number>>;
    /** Whether scikit-learn gives one answer whatever its random state. */
    readonly unique: boolean;
    readonly probability?: readonly number[];
    /** One per random state. */
    readonly aucRoc: readonly number[];
  }[];
  readonly random_forest: readonly {
    readonly parameters: Readonly<Record<string, number | string | boolean>>;
    /** Mean over ten random states. */
    readonly aucRoc: number;
    /** Mean number of nodes of a tree. */
    readonly nodes: number;
  }[];
}

export interface MetricsGolden {
  readonly cases: readonly {
    readonly y: readonly number[];
    readonly probability: readonly number[];
    readonly predicted: readonly number[];
    readonly expected: ClassificationMetrics;
  }[];
}

/**
 * scikit-learn on the real data: `mean` and `sd` of the test AUC-ROC over `seeds` stratified 70/10/20 splits, one cell
 * per data set, features (morgan, maccs, descriptors) and model, with the spec's hyper-parameters.
 */
export interface RealDataGolden {
  readonly seeds: number;
  readonly datasets: Readonly<
    Record<string, { readonly rows: number; readonly positives: number; readonly dropped: number }>
  >;
  readonly testAucRoc: readonly {
    readonly dataset: 'hERG' | 'AMES' | 'BBBP' | 'ClinTox';
    readonly features: 'morgan' | 'maccs' | 'descriptors';
    readonly model: ModelName;
    readonly mean: number;
    readonly sd: number;
    /** Mean accuracy over the same splits. */
    readonly accuracy: number;
  }[];
}

function load<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8')) as T;
}

export function syntheticGolden(): SyntheticGolden {
  return load('./synthetic.json');
}

export function metricsGolden(): MetricsGolden {
  return load('./metrics.json');
}

export function realDataGolden(): RealDataGolden {
  return load('./real-data.json');
}

/** `min_samples_leaf` → `minSamplesLeaf`. */
export function camelCased(parameters: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [
      name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
      value,
    ]),
  );
}

export function greatestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let greatest = 0;
  for (let i = 0; i < a.length; i++) greatest = Math.max(greatest, Math.abs(a[i]! - b[i]!));
  return greatest;
}
