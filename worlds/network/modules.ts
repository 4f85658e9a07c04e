import { readFile, realpath } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { RequestHandler } from 'msw';
import { CloveError } from '../../errors/index.ts';
import { isServiceDefinition, type ServiceDefinition } from './service.ts';

// Code and files of a world lie in the folder of its definition. A definition that came over a socket has no folder:
// whoever sends it would otherwise choose what the kernel process runs or reads.

async function placeIn(folder: string | null, file: string): Promise<string> {
  if (folder === null)
    throw new CloveError('FORBIDDEN', `${file}: only a world read from a file may name files of its own`, {
      hint: 'Start the world with `clove world` from its folder, or write its routes as data.',
    });
  const root = await realpath(folder);
  const place = await realpath(path.resolve(root, file)).catch(() => null);
  if (place === null) throw new CloveError('CONFIG', `${file} is not there (looked in ${root})`);
  if (!place.startsWith(`${root}${path.sep}`))
    throw new CloveError('PATH_REFUSED', `${file} leads out of the folder of the world`);
  return place;
}

async function importFrom(folder: string | null, file: string): Promise<unknown> {
  const place = await placeIn(folder, file);
  try {
    const module = (await import(pathToFileURL(place).href)) as { default?: unknown };
    return module.default;
  } catch (cause) {
    throw new CloveError('CONFIG', `${file} cannot be loaded: ${(cause as Error).message}`, { cause });
  }
}

/** Handlers of msw: the module's default export, one or a list. */
export async function importHandlers(folder: string | null, file: string): Promise<RequestHandler[]> {
  const found = [await importFrom(folder, file)].flat();
  const isHandler = (value: unknown): value is RequestHandler =>
    typeof value === 'object' && value !== null && 'run' in value && typeof value.run === 'function';
  if (!found.every(isHandler))
    throw new CloveError('CONFIG', `${file}: the default export must be a list of msw handlers`);
  return found;
}

export async function importService(folder: string | null, file: string): Promise<ServiceDefinition> {
  const found = await importFrom(folder, file);
  if (!isServiceDefinition(found))
    throw new CloveError('CONFIG', `${file}: the default export must be defineService(…)`);
  return found;
}

/** A cassette as JSON. */
export async function readCassette(folder: string | null, file: string): Promise<readonly unknown[]> {
  const place = await placeIn(folder, file);
  try {
    const value: unknown = JSON.parse(await readFile(place, 'utf8'));
    if (Array.isArray(value)) return value;
    throw new Error('expected a list');
  } catch (cause) {
    throw new CloveError('DATA_CORRUPT', `${file} is no cassette: ${(cause as Error).message}`, { cause });
  }
}
