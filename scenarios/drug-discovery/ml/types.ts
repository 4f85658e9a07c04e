/**
 * Rows of features. `bits`: row r is `words[r * stride … ]`, stride = ceil(columns / 32), and column c is bit
 * `c & 31` of word `c >>> 5`; bits beyond `columns` are zero. `dense`: row-major, finite numbers.
 */
export type FeatureMatrix =
  | { kind: 'bits'; rows: number; columns: number; words: Uint32Array }
  | { kind: 'dense'; rows: number; columns: number; values: Float64Array };

export interface Prediction {
  /** Probability of class 1, one per row asked for. */
  readonly probability: Float64Array;
  /** The class (0 or 1) that scikit-learn's `predict` would give, one per row asked for. */
  readonly predicted: Uint8Array;
}

/** A binary classifier. Rows are indices into the matrix; labels are 0 or 1, one per row of the matrix. */
export interface Classifier {
  /** What the last `fit` could not do as asked, such as not converging within `maxIter`. */
  readonly warnings: readonly string[];
  /**
   * Learns from `trainRows` only. Throws CONFIG when they hold fewer than two classes, are not rows of the matrix, or
   * carry labels other than 0 and 1, values that are not finite or bits beyond the columns.
   */
  fit(x: FeatureMatrix, y: Uint8Array, trainRows: Int32Array): void;
  /** Throws CONFIG before `fit`, and for rows or a matrix that do not go with what it was fitted to. */
  predictProbability(x: FeatureMatrix, rows: Int32Array): Float64Array;
  /** Probability and class at the price of one pass. For an SVM the class is the sign of the decision function. */
  predict(x: FeatureMatrix, rows: Int32Array): Prediction;
}

export const MODEL_NAMES = ['random_forest', 'gradient_boosting', 'logistic_regression', 'svm'] as const;

export type ModelName = (typeof MODEL_NAMES)[number];

export interface RandomForestParameters {
  /** Trees. Default 100. */
  readonly nEstimators: number;
  /** Greatest depth, null = until the leaves are pure. Default null. */
  readonly maxDepth: number | null;
  /** Default 2. */
  readonly minSamplesSplit: number;
  /** Default 1. */
  readonly minSamplesLeaf: number;
  /** Columns tried at a split: 'sqrt', 'log2', a share in (0, 1], or null = all. Default 'sqrt'. */
  readonly maxFeatures: 'sqrt' | 'log2' | number | null;
  /** Each tree sees a sample drawn with replacement. Default true. */
  readonly bootstrap: boolean;
}

export interface GradientBoostingParameters {
  /** Stages. Default 100. */
  readonly nEstimators: number;
  /** Default 0.1. */
  readonly learningRate: number;
  /** Depth of every stage's tree. Default 3. */
  readonly maxDepth: number;
  /** Default 2. */
  readonly minSamplesSplit: number;
  /** Default 1. */
  readonly minSamplesLeaf: number;
  /** Share of the rows each stage sees, drawn without replacement. Default 1. */
  readonly subsample: number;
}

export interface LogisticRegressionParameters {
  /** Inverse strength of the L2 penalty; the intercept is not penalised. Default 1. */
  readonly c: number;
  /** Newton steps at most (each is worth many L-BFGS iterations). Default 1000. */
  readonly maxIter: number;
  /** Ends when every scaled component of the gradient is below this. Default 1e-9. */
  readonly tol: number;
}

export interface SvmParameters {
  /** Default 1. */
  readonly c: number;
  /** RBF width: 'scale' = 1 / (columns · Var(X)), 'auto' = 1 / columns, or the number itself. Default 'scale'. */
  readonly gamma: 'scale' | 'auto' | number;
  /** Greatest violation of the optimality conditions that is left. Default 1e-3. */
  readonly tol: number;
}

export interface ParametersByModel {
  readonly random_forest: RandomForestParameters;
  readonly gradient_boosting: GradientBoostingParameters;
  readonly logistic_regression: LogisticRegressionParameters;
  readonly svm: SvmParameters;
}

/** What a grid may set, in scikit-learn's names; what is absent takes the model's default, what the model has not is refused. */
export type ModelParameters = Partial<
  Omit<RandomForestParameters, 'maxDepth'> &
    Omit<GradientBoostingParameters, 'maxDepth'> &
    LogisticRegressionParameters &
    SvmParameters
> & { readonly maxDepth?: number | null };
