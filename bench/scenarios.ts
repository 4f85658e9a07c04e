/** Where scenarios come from: with Clove, the project's own folder, the user's own, or a file that is named. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CloveError, isCloveError } from '../errors/index.ts';
import { namesHint } from '../errors/suggest.ts';
import { fleetAsScenario } from './fleet/as-scenario.ts';
import { isFleet } from './fleet/definition.ts';
import type { Scenario } from './scenario.ts';

const BUILT_IN = join(dirname(import.meta.dirname), 'scenarios');
const BUILT_IN_MODULE = `scenario${extname(import.meta.filename)}`;
const OWN_MODULES = ['scenario.ts', 'scenario.js', 'scenario.mjs'];

export type ScenarioOrigin = 'clove' | 'project' | 'user' | 'file';

export interface FoundScenario {
  readonly name: string;
  readonly origin: ScenarioOrigin;
  readonly file: string;
}

/** `./scenarios`, and `$XDG_CONFIG_HOME/clove/scenarios`. */
export function scenarioFolders(): { readonly project: string; readonly user: string } {
  const config = process.env.XDG_CONFIG_HOME || join(homedir(), '.config');
  return { project: resolve('scenarios'), user: join(config, 'clove', 'scenarios') };
}

/**
 * All there are, by name. One that comes with Clove cannot be replaced by a folder that happens to lie where the command is
 * run; the project's own go before the user's.
 */
export function findScenarios(): FoundScenario[] {
  const { project, user } = scenarioFolders();
  const found = new Map<string, FoundScenario>();
  const look = (folder: string, origin: ScenarioOrigin, modules: readonly string[]) => {
    for (const name of foldersOf(folder)) {
      const file = modules.map((module) => join(folder, name, module)).find((path) => existsSync(path));
      if (file !== undefined && !found.has(name)) found.set(name, { name, origin, file });
    }
  };
  look(BUILT_IN, 'clove', [BUILT_IN_MODULE]);
  // In a clone of Clove itself both are the same folder: what somebody has added there is found all the same.
  look(project, 'project', OWN_MODULES);
  look(user, 'user', OWN_MODULES);
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Names of all there are. */
export function scenarioNames(): string[] {
  return findScenarios().map(({ name }) => name);
}

/** By name, or by the path of its file or folder. @throws USAGE when there is none */
export function findScenario(nameOrPath: string): FoundScenario {
  if (nameOrPath.includes('/') || /\.[mc]?[jt]s$/.test(nameOrPath)) {
    const path = resolve(nameOrPath);
    const isFolder = existsSync(path) && statSync(path).isDirectory();
    const file = isFolder ? OWN_MODULES.map((module) => join(path, module)).find(existsSync) : path;
    if (file === undefined || !existsSync(file))
      throw new CloveError('USAGE', `there is no scenario at ${nameOrPath}`, {
        hint: 'A scenario is a folder with a scenario.ts, .js or .mjs; clove scenario new NAME makes one.',
      });
    return { name: basename(dirname(file)), origin: 'file', file };
  }
  const all = findScenarios();
  const found = all.find(({ name }) => name === nameOrPath);
  if (found !== undefined) return found;
  throw new CloveError('USAGE', `there is no scenario "${nameOrPath}"`, {
    hint: namesHint(
      nameOrPath,
      all.map(({ name }) => name),
    ),
  });
}

/** Loads one, and checks its form. @throws USAGE when there is none, CONFIG when its file makes no sense */
export async function loadScenario(nameOrPath: string): Promise<Scenario> {
  return await loadScenarioFile(findScenario(nameOrPath));
}

export async function loadScenarioFile({ name, origin, file }: FoundScenario): Promise<Scenario> {
  let exported: unknown;
  try {
    ({ default: exported } = await import(pathToFileURL(file).href));
  } catch (error) {
    if (isCloveError(error)) throw error;
    throw new CloveError('CONFIG', `${file} cannot be loaded: ${(error as Error).message}`, { cause: error });
  }
  const scenario = isFleet(exported) ? fleetAsScenario(exported) : (exported as Scenario | undefined);
  if (typeof scenario?.plan !== 'function' || typeof scenario.name !== 'string')
    throw new CloveError('CONFIG', `${file} has no scenario as its default export`, {
      hint: 'docs/scenarios.md shows one in twenty lines.',
    });
  if (origin !== 'file' && scenario.name !== name)
    throw new CloveError('CONFIG', `${file}: the scenario is named "${scenario.name}", its folder "${name}"`);
  return scenario;
}

function foldersOf(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}
