import { existsSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { type Cell, expandGrid, makeTrials, widenCells } from '../../bench/grid.ts';
import { contentKey } from '../../bench/keys.ts';
import type { PrepareTask, Scenario, ScenarioOptions } from '../../bench/scenario.ts';
import type { ParameterValue, Preparation, RunResults } from '../../bench/types.ts';
import { Luck } from '../../worlds/luck/streams.ts';
import type { FeatureSetName } from './chemistry/features.ts';
import { estimateCost } from './cost.ts';
import { featuresFileName } from './data/prepare.ts';
import { type DataSource, resolveSources } from './data/resolve.ts';
import { DATASETS, type DatasetName } from './data/sources.ts';
import type { ModelName } from './ml/index.ts';
import { parseSettings, SETTINGS } from './options.ts';
import { describePython, pythonParts } from './python/parts.ts';
import { variantParameters } from './variants.ts';
import type { ExperimentInput } from './worker.ts';

/** Goes up whenever the same inputs may give other figures: learners, split or measures changed. */
const VERSION = '1';
const MODULE = extname(import.meta.filename);

const drugDiscovery: Scenario = {
  name: 'drug-discovery',
  title: 'Drug discovery: toxicity and permeability models',
  description:
    'Predicts from a molecule’s structure whether it blocks hERG, is mutagenic (AMES), crosses the blood–brain barrier (BBBP) or failed in clinical trials for toxicity (ClinTox): 4 data sets × 3 feature sets × 4 models.',
  version: VERSION,
  worker: new URL(`./worker${MODULE}`, import.meta.url),
  // The slowest trial takes a second or two on one core: a minute is a hang, and waiting longer for it only costs the grid time.
  limits: { memoryBytes: 1024 ** 3, cpu: 1, maxPids: 32, timeoutMs: 60_000 },
  presentation: {
    primaryMetric: { path: 'test.aucRoc', label: 'Test AUC-ROC', higherIsBetter: true },
    metrics: [
      { path: 'test.aucRoc', label: 'Test AUC-ROC', format: '.3f' },
      { path: 'test.averagePrecision', label: 'Test average precision', format: '.3f' },
      { path: 'test.balancedAccuracy', label: 'Test balanced accuracy', format: '.3f' },
      { path: 'test.accuracy', label: 'Test accuracy', format: '.3f' },
      { path: 'test.precision', label: 'Test precision', format: '.3f' },
      { path: 'test.recall', label: 'Test recall', format: '.3f' },
      { path: 'test.f1', label: 'Test F1', format: '.3f' },
      { path: 'test.mcc', label: 'Test MCC', format: '.3f' },
      { path: 'valid.aucRoc', label: 'Valid AUC-ROC', format: '.3f' },
      { path: 'train.aucRoc', label: 'Train AUC-ROC', format: '.3f' },
    ],
    heatmap: { rows: ['dataset', 'features'], columns: ['model'], facet: null },
    parameterLabels: { dataset: 'Data set', features: 'Features', model: 'Model' },
  },
  settings: SETTINGS,

  async plan(options) {
    const settings = parseSettings(options);
    const sources = resolveSources({
      datasets: settings.datasets,
      directory: options.dataDirectory ?? undefined,
    });
    const cacheDirectory = join(options.cacheDirectory, 'features');
    const fileOf = (source: DataSource, features: FeatureSetName) =>
      join(cacheDirectory, featuresFileName(source, features));
    const prepare = sources.map((source): PrepareTask => {
      const files = settings.features.map((features) => fileOf(source, features));
      return {
        name: source.dataset,
        key: contentKey(files.map((file) => file.slice(cacheDirectory.length))),
        module: new URL(`./prepare-inputs${MODULE}`, import.meta.url),
        input: { source, featureSets: settings.features, cacheDirectory },
        cached: files.every((file) => existsSync(file)),
      };
    });
    const cells = gridCells(options, settings, (dataset, features) =>
      fileOf(sources.find((source) => source.dataset === dataset) as DataSource, features),
    );
    const trials = () =>
      makeTrials(widen(cells, options), (cell) => ({
        scenario: 'drug-discovery',
        version: VERSION,
        split: settings.split,
        // The file's name is the digest of what is in it.
        features: basename(String(cell.input.featuresFile)),
        ...(settings.worker === 'python' ? { worker: settings.worker, featurize: settings.featurize } : {}),
      }));
    const python =
      settings.worker === 'python' ? pythonParts(options, settings, sources, cacheDirectory) : null;
    return {
      prepare: [...prepare, ...(python?.prepare ?? [])],
      trials: () => python?.complete(trials()) ?? trials(),
      outline: trials,
      ...(python === null ? {} : { program: python.program }),
      provenance: (preparations) =>
        sources.map((source, index) => describeSource(source, preparations[index])),
      notices: noticesOf(sources),
      readOnlyPaths: [cacheDirectory],
      resolved: {
        datasets: settings.datasets.join(','),
        features: settings.features.join(','),
        models: settings.models.join(','),
        split: settings.split,
        worker: settings.worker,
        featurize: settings.featurize,
        quick: options.quick,
        size: options.size,
        data: sources[0]?.origin === 'built-in' ? 'built-in' : (sources[0]?.origin ?? null),
      },
    };
  },

  describePreparation: ({ name, facts }) =>
    describePython(name, facts) ??
    `features of ${name}: ${facts.rows} molecules, ${facts.positives} positive${
      facts.dropped ? `, ${facts.dropped} rows dropped (${facts.droppedWhy})` : ''
    }`,
};

export default drugDiscovery;

function gridCells(
  options: ScenarioOptions,
  settings: ReturnType<typeof parseSettings>,
  fileOf: (dataset: DatasetName, features: FeatureSetName) => string,
): Cell[] {
  const axes = { dataset: settings.datasets, features: settings.features, model: settings.models };
  return expandGrid(axes).map((params) => {
    const dataset = params.dataset as DatasetName;
    const features = params.features as FeatureSetName;
    const model = params.model as ModelName;
    const input: ExperimentInput = {
      featuresFile: fileOf(dataset, features),
      split: settings.split,
      ...seedsOf(options.seed, dataset, model),
      modelParameters: {},
    };
    const costEstimate = estimateCost(dataset, features, model);
    return { params, seed: options.seed, costEstimate, input: { ...input } };
  });
}

/** All models and feature sets of one data set share its split, so that they can be compared. */
function seedsOf(
  seed: number,
  dataset: string,
  model: string,
): Pick<ExperimentInput, 'splitSeed' | 'modelSeed'> {
  const luck = new Luck(seed);
  return { splitSeed: luck.derive(`split/${dataset}`), modelSeed: luck.derive(`model/${model}`) };
}

/** Variants of a cell have a seed of their own, thus another split, and modest hyper-parameters. */
function widen(cells: readonly Cell[], options: ScenarioOptions): Cell[] {
  return widenCells(cells, options.size ?? cells.length, (cell, variant) => {
    const { dataset, model } = cell.params as { dataset: string; model: ModelName };
    const seed = new Luck(options.seed).derive(`variant/${variant}`);
    const modelParameters = variantParameters(model, variant);
    return {
      ...cell,
      params: { ...cell.params, variant, ...(modelParameters as Record<string, ParameterValue>) },
      seed,
      input: { ...cell.input, ...seedsOf(seed, dataset, model), modelParameters },
    };
  });
}

function describeSource(
  source: DataSource,
  preparation: Preparation | undefined,
): RunResults['provenance'][number] {
  const { dataset, provenance, digest } = source;
  return {
    name: `${dataset}: ${provenance}`,
    kind: source.kind === 'synthetic' ? 'synthetic' : 'measured',
    rows: Number(preparation?.facts.rows ?? 0),
    dropped: Number(preparation?.facts.dropped ?? 0),
    sha256: digest,
    ...originOf(source),
  };
}

function noticesOf(sources: readonly DataSource[]): string[] {
  const changed = sources.filter((source) => source.kind === 'file' && !source.published);
  return [
    ...(sources.some(({ kind }) => kind === 'synthetic')
      ? [
          'The data are rule-labelled, synthetic: assembled and labelled by rules, not measured. `clove data fetch` or --data DIR brings measured data.',
        ]
      : []),
    ...(changed.length > 0
      ? [
          `Not the published files: ${changed.map(({ dataset }) => dataset).join(', ')}. Their figures compare with nobody else's.`,
        ]
      : []),
  ];
}

/** A changed file keeps neither the citation nor the licence of the published one. */
function originOf(source: DataSource): { readonly source: string; readonly licence: string } {
  if (source.kind === 'synthetic') return { source: 'built-in rules', licence: 'MIT' };
  if (!source.published) return { source: `${source.path}, not the published file`, licence: 'unknown' };
  const { citation, license } = DATASETS[source.dataset];
  return { source: citation, licence: license };
}
