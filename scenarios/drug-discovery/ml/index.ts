import { CheckedClassifier } from './checked-classifier.ts';
import { GradientBoosting } from './gradient-boosting.ts';
import { LogisticRegression } from './logistic-regression.ts';
import { resolveParameters } from './parameters.ts';
import { RandomForest } from './random-forest.ts';
import { SupportVectorMachine } from './svm.ts';
import type { Classifier, ModelName, ModelParameters } from './types.ts';

export {
  type ClassificationMetrics,
  type ConfusionMatrix,
  confusionMatrix,
  evaluate,
  specificity,
} from './metrics.ts';
export { DEFAULT_PARAMETERS, resolveParameters } from './parameters.ts';
export {
  type Classifier,
  type FeatureMatrix,
  MODEL_NAMES,
  type ModelName,
  type ModelParameters,
  type ParametersByModel,
  type Prediction,
} from './types.ts';

/**
 * A learner with the semantics of its scikit-learn namesake, up to what chance decides there and here by different
 * generators: a forest's samples and columns, equally good columns in boosting, the folds behind an SVM's probabilities.
 * Logistic regression goes to the true optimum, where scikit-learn's default solver stops close to it.
 *
 * The same seed, parameters and rows give the same bits on every run. Throws CONFIG for a parameter the model has not or
 * a value out of range.
 */
export function createClassifier(model: ModelName, parameters: ModelParameters, seed: number): Classifier {
  return new CheckedClassifier(createLearner(model, parameters, seed));
}

function createLearner(model: ModelName, parameters: ModelParameters, seed: number): Classifier {
  switch (model) {
    case 'random_forest':
      return new RandomForest(resolveParameters(model, parameters), seed);
    case 'gradient_boosting':
      return new GradientBoosting(resolveParameters(model, parameters), seed);
    case 'logistic_regression':
      return new LogisticRegression(resolveParameters(model, parameters));
    case 'svm':
      return new SupportVectorMachine(resolveParameters(model, parameters), seed);
  }
}
