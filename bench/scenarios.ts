import { existsSync, readdirSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CloveError } from '../errors/index.ts';
import type { Scenario } from './scenario.ts';

const EXTENSION = extname(import.meta.filename);
const FOLDER = join(dirname(import.meta.dirname), 'scenarios');

/** Names of the scenarios that come with Clove. */
export function scenarioNames(): string[] {
  return readdirSync(FOLDER, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(FOLDER, entry.name, `scenario${EXTENSION}`)))
    .map((entry) => entry.name)
    .sort();
}

/** Loads one of them. Throws USAGE when there is none of this name. */
export async function loadScenario(name: string): Promise<Scenario> {
  const names = scenarioNames();
  if (!names.includes(name))
    throw new CloveError('USAGE', `there is no scenario "${name}"`, {
      hint: `There are: ${names.join(', ')}.`,
    });
  const url = pathToFileURL(join(FOLDER, name, `scenario${EXTENSION}`));
  const module: { default: Scenario } = await import(url.href);
  return module.default;
}
