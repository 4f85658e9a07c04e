/** What the Python worker adds to the plan of drug-discovery. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { contentKey } from '../../../bench/keys.ts';
import type { PrepareTask, PythonProgram, ScenarioOptions } from '../../../bench/scenario.ts';
import type { Preparation, Trial } from '../../../bench/types.ts';
import { featuresFileName } from '../data/prepare.ts';
import type { DataSource } from '../data/resolve.ts';
import type { DrugDiscoveryOptions } from '../options.ts';
import {
  environmentFolder,
  FEATURES_PRELOAD,
  hasEnvironment,
  interpreterOf,
  PRELOAD,
  REQUIREMENTS,
} from './environment.ts';
import { withSplitFiles } from './splits.ts';

const ENVIRONMENT = 'Python environment';
const MOLECULES = 'molecules of ';
const EXTENSION = import.meta.filename.slice(import.meta.filename.lastIndexOf('.'));

export interface PythonParts {
  readonly prepare: readonly PrepareTask[];
  readonly program: PythonProgram;
  /** The trials with what the Python worker needs besides. */
  complete(trials: readonly Trial[]): Trial[];
}

export function pythonParts(
  options: ScenarioOptions,
  settings: DrugDiscoveryOptions,
  sources: readonly DataSource[],
  featuresDirectory: string,
): PythonParts {
  const folder = environmentFolder(options.cacheDirectory);
  const moleculesFile = (source: DataSource) =>
    join(
      featuresDirectory,
      `${contentKey(['molecules', featuresFileName(source, 'morgan')])}.molecules.json`,
    );
  const computesFeatures = settings.featurize === 'worker';
  return {
    prepare: [
      {
        name: ENVIRONMENT,
        key: contentKey(REQUIREMENTS),
        module: new URL(`./prepare-environment${EXTENSION}`, import.meta.url),
        input: { folder },
        cached: hasEnvironment(folder),
        announcement: `installing ${REQUIREMENTS.join(', ')} into ${folder}, once (pip, a minute or two)`,
      },
      ...(computesFeatures ? sources : []).map((source) => ({
        name: `${MOLECULES}${source.dataset}`,
        key: contentKey(moleculesFile(source).slice(featuresDirectory.length)),
        module: new URL(`./prepare-molecules${EXTENSION}`, import.meta.url),
        input: { source, file: moleculesFile(source) },
        cached: existsSync(moleculesFile(source)),
      })),
    ],
    program: {
      language: 'python',
      interpreter: interpreterOf(folder),
      script: join(import.meta.dirname, 'worker.py'),
      preload: computesFeatures ? [...PRELOAD, ...FEATURES_PRELOAD] : PRELOAD,
    },
    complete: (trials) =>
      withSplitFiles(trials, featuresDirectory).map((trial) => {
        if (!computesFeatures) return trial;
        const source = sources.find(({ dataset }) => dataset === trial.params.dataset) as DataSource;
        return { ...trial, input: { ...trial.input, moleculesFile: moleculesFile(source) } };
      }),
  };
}

/** null for what is no preparation of the Python worker. */
export function describePython(name: string, facts: Preparation['facts']): string | null {
  if (name.startsWith(MOLECULES)) return name;
  if (name !== ENVIRONMENT) return null;
  return `${ENVIRONMENT}: Python ${facts.python}, scikit-learn ${facts.scikitLearn}, RDKit ${facts.rdkit}`;
}
