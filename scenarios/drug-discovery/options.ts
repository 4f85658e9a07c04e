import type { ScenarioOptions } from '../../bench/scenario.ts';
import { CloveError } from '../../errors/index.ts';
import { FEATURE_SET_NAMES, type FeatureSetName } from './chemistry/features.ts';
import { DATASET_NAMES, type DatasetName } from './data/sources.ts';
import { SPLIT_METHODS, type SplitMethod } from './data/split.ts';
import { MODEL_NAMES, type ModelName } from './ml/index.ts';

export interface DrugDiscoveryOptions {
  readonly datasets: readonly DatasetName[];
  readonly features: readonly FeatureSetName[];
  readonly models: readonly ModelName[];
  readonly split: SplitMethod;
  readonly worker: WorkerName;
  readonly featurize: FeaturizeName;
}

export const WORKERS = ['typescript', 'python'] as const;
export type WorkerName = (typeof WORKERS)[number];
export const FEATURIZERS = ['prepared', 'worker'] as const;
export type FeaturizeName = (typeof FEATURIZERS)[number];

export const SETTINGS = {
  datasets: `Comma-separated, of ${DATASET_NAMES.join(', ')} (default: all)`,
  features: `Comma-separated, of ${FEATURE_SET_NAMES.join(', ')} (default: all)`,
  models: `Comma-separated, of ${MODEL_NAMES.join(', ')} (default: all)`,
  split: `${SPLIT_METHODS.join(' or ')} (default: stratified)`,
  worker: `${WORKERS.join(' or ')}: who fits the models, our own learners or scikit-learn (default: typescript)`,
  featurize: `prepared once for all, or in each experiment by the python worker: ${FEATURIZERS.join(' or ')} (default: prepared)`,
} as const;

const QUICK: Pick<DrugDiscoveryOptions, 'datasets' | 'features' | 'models'> = {
  datasets: ['hERG', 'AMES'],
  features: ['morgan', 'maccs'],
  models: ['random_forest', 'logistic_regression'],
};

/** What is named wins over `--quick`, which wins over everything there is. Throws USAGE. */
export function parseSettings(options: Pick<ScenarioOptions, 'quick' | 'set'>): DrugDiscoveryOptions {
  const { quick, set } = options;
  const worker = oneOf('worker', set.worker ?? 'typescript', WORKERS);
  const featurize = oneOf('featurize', set.featurize ?? 'prepared', FEATURIZERS);
  if (featurize === 'worker' && worker !== 'python')
    throw new CloveError('USAGE', 'featurize=worker needs the python worker', { hint: SETTINGS.featurize });
  return {
    datasets: choose('datasets', set.datasets, DATASET_NAMES, quick ? QUICK.datasets : DATASET_NAMES),
    features: choose('features', set.features, FEATURE_SET_NAMES, quick ? QUICK.features : FEATURE_SET_NAMES),
    models: choose('models', set.models, MODEL_NAMES, quick ? QUICK.models : MODEL_NAMES),
    split: oneOf('split', set.split ?? 'stratified', SPLIT_METHODS),
    worker,
    featurize,
  };
}

function oneOf<Name extends string>(
  setting: keyof typeof SETTINGS,
  text: string,
  known: readonly Name[],
): Name {
  const found = known.find((name) => name === text);
  if (found === undefined)
    throw new CloveError('USAGE', `${setting}: there is no "${text}"`, { hint: SETTINGS[setting] });
  return found;
}

/** Always in the order of the whole grid, so that ids do not depend on how a list was typed. */
function choose<Name extends string>(
  setting: keyof typeof SETTINGS,
  text: string | undefined,
  known: readonly Name[],
  otherwise: readonly Name[],
): readonly Name[] {
  if (text === undefined) return otherwise;
  const named = text.split(',').map((name) => name.trim().toLowerCase());
  const unknown = named.filter((name) => !known.some((one) => one.toLowerCase() === name));
  if (unknown.length > 0)
    throw new CloveError('USAGE', `${setting}: there is no "${unknown.join('", "')}"`, {
      hint: SETTINGS[setting],
    });
  return known.filter((name) => named.includes(name.toLowerCase()));
}
