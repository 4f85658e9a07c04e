/** The virtual environment of the Python worker: made once, when it is first asked for, and kept in the cache. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { contentKey } from '../../../bench/keys.ts';
import type { ParameterValue } from '../../../bench/types.ts';
import { CloveError } from '../../../errors/index.ts';

const run = promisify(execFile);

/** RDKit of the release that the TypeScript worker's WebAssembly build is of, so that both see the same molecules. */
export const REQUIREMENTS = ['numpy==2.4.6', 'scipy==1.17.1', 'scikit-learn==1.9.1', 'rdkit==2026.9.1'];
/** What a trial imports; where it computes features itself, these as well. */
export const PRELOAD = [
  'numpy',
  'sklearn.ensemble',
  'sklearn.linear_model',
  'sklearn.svm',
  'sklearn.metrics',
];
export const FEATURES_PRELOAD = [
  'rdkit.Chem.Crippen',
  'rdkit.Chem.Descriptors',
  'rdkit.Chem.MACCSkeys',
  'rdkit.Chem.rdFingerprintGenerator',
];

/** First those that a sandbox sees without further ado. */
const PYTHONS = ['/usr/bin/python3', '/usr/local/bin/python3', 'python3'];
const COMPLETE = 'complete.json';
const INSTALL_MS = 900_000;

export type EnvironmentFacts = Readonly<Record<string, ParameterValue | null>>;

/** `<cache>/python/<digest of what is in it>`. */
export function environmentFolder(cacheDirectory: string): string {
  return path.join(cacheDirectory, 'python', `rdkit-sklearn-${contentKey(REQUIREMENTS).slice(0, 10)}`);
}

export function interpreterOf(folder: string): string {
  return path.join(folder, 'bin', 'python3');
}

export function hasEnvironment(folder: string): boolean {
  return existsSync(path.join(folder, COMPLETE)) && existsSync(interpreterOf(folder));
}

/** Makes it where it is not there. @throws SETUP_FAILED with what could not be had */
export async function ensureEnvironment(folder: string): Promise<EnvironmentFacts> {
  if (hasEnvironment(folder)) return JSON.parse(readFileSync(path.join(folder, COMPLETE), 'utf8'));
  const making = `${folder}.${randomUUID().slice(0, 8)}.partial`;
  await mkdir(path.dirname(folder), { recursive: true });
  try {
    const facts = await make(making);
    await writeFile(path.join(making, COMPLETE), JSON.stringify(facts));
    await rm(folder, { recursive: true, force: true });
    await rename(making, folder).catch((error: NodeJS.ErrnoException) => {
      // Another bench was quicker.
      if (!hasEnvironment(folder)) throw error;
    });
    return facts;
  } finally {
    await rm(making, { recursive: true, force: true });
  }
}

async function make(folder: string): Promise<EnvironmentFacts> {
  const python = await firstPython();
  await step('make a virtual environment', python, ['-m', 'venv', '--without-pip', folder]);
  const own = interpreterOf(folder);
  await step('install scikit-learn and RDKit', await firstPip(), [
    '-m',
    'pip',
    '--python',
    own,
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '--no-input',
    '--only-binary=:all:',
    ...REQUIREMENTS,
  ]);
  const { stdout } = await step('import what was installed', own, [
    '-c',
    'import json, platform, numpy, sklearn, rdkit; print(json.dumps({"python": platform.python_version(), "numpy": numpy.__version__, "scikitLearn": sklearn.__version__, "rdkit": rdkit.__version__}))',
  ]);
  return JSON.parse(stdout);
}

async function firstPython(): Promise<string> {
  for (const python of PYTHONS) if (await answers(python, ['-c', 'import venv'])) return python;
  throw new CloveError('SETUP_FAILED', 'the Python worker needs Python 3 with its module venv', {
    hint: 'Install python3 and python3-venv, or use the TypeScript worker: leave out --worker python.',
  });
}

/** Any Python that has pip: it installs for the other one. */
async function firstPip(): Promise<string> {
  for (const python of ['python3', ...PYTHONS])
    if (await answers(python, ['-m', 'pip', '--version'])) return python;
  throw new CloveError('SETUP_FAILED', 'the Python worker needs pip to be installed', {
    hint: 'Install python3-pip, or use the TypeScript worker: leave out --worker python.',
  });
}

async function answers(program: string, args: readonly string[]): Promise<boolean> {
  return await run(program, [...args], { timeout: 30_000 }).then(
    () => true,
    () => false,
  );
}

/** Files can be read by everyone whatever the caller's umask, as sandboxed workers run under other user ids. */
async function step(what: string, program: string, args: readonly string[]): Promise<{ stdout: string }> {
  try {
    return await run('/bin/sh', ['-c', 'umask 022; exec "$0" "$@"', program, ...args], {
      timeout: INSTALL_MS,
      maxBuffer: 2 ** 24,
    });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    const lines = (stderr || message).trim().split('\n').slice(-3).join(' ');
    throw new CloveError('SETUP_FAILED', `cannot ${what} for the Python worker: ${lines}`, {
      hint: 'pip needs a package index (PIP_INDEX_URL); the TypeScript worker needs nothing: leave out --worker python.',
      cause: error,
    });
  }
}
