import path from 'node:path';
import { CloveError } from '../errors/index.ts';
import { catalogWorld } from './catalog/index.ts';
import type { WorldDefinition } from './definition.ts';
import { checkDefinition, type ReadDefinition, readWorldSource } from './definition-file.ts';
import { isLegacyConfig } from './legacy/config.ts';
import type { Origin } from './origin.ts';

/** A definition ready to make a world of, and where it came from. */
export interface ResolvedDefinition {
  readonly definition: WorldDefinition;
  readonly origin: Origin;
  readonly folder: string | null;
  readonly warnings: readonly string[];
}

type Plain = Readonly<Record<string, unknown>>;

/** From data sent by a client; `template` names a world of the catalogue that it is laid over. @throws CONFIG, NOT_FOUND */
export async function resolveConfig(
  config: Plain,
  template: string | null,
  seed: number | null = null,
): Promise<ResolvedDefinition> {
  const { extends: named, ...rest } = config;
  const base = template ?? (typeof named === 'string' ? named : null);
  if (base === null) {
    const { input, definition, warnings } = checkDefinition(rest, 'config', undefined, true);
    return { definition, origin: { kind: 'inline', definition: input }, folder: null, warnings };
  }
  const { definition, warnings } = checkDefinition(
    overlaid(await catalogWorld(base, seed ?? seedOf(rest)), rest),
    'config',
  );
  return { definition, origin: { kind: 'template', template: base, overlay: rest }, folder: null, warnings };
}

/** From a file on the host, with what is laid over it. @throws CONFIG, DATA_MISSING, NOT_FOUND */
export async function resolveFile(
  file: string,
  overlay: Plain,
  seed: number | null = null,
): Promise<ResolvedDefinition> {
  const { definition, warnings } = await readWorldFile(file, overlay, seed);
  return {
    definition,
    origin: { kind: 'file', path: path.resolve(file), overlay },
    folder: path.dirname(path.resolve(file)),
    warnings,
  };
}

/** Again, as a snapshot says. @throws CONFIG, DATA_MISSING, FORBIDDEN (a file, asked for by an agent) */
export async function resolveOrigin(
  origin: Origin,
  seed: number,
  mayReadFiles: boolean,
): Promise<ResolvedDefinition> {
  switch (origin.kind) {
    case 'inline':
      return resolveConfig(origin.definition, null);
    case 'template':
      return resolveConfig(origin.overlay, origin.template, seed);
    case 'file':
      if (mayReadFiles) return resolveFile(origin.path, origin.overlay, seed);
      throw new CloveError('FORBIDDEN', `the world is defined by ${origin.path}: only operators restore it`);
  }
}

/** Reads, completes (`extends`) and checks a world file. @throws CONFIG with all mistakes, DATA_MISSING, NOT_FOUND */
export async function readWorldFile(
  file: string,
  overlay: Plain = {},
  seed: number | null = null,
): Promise<ReadDefinition> {
  const { value, locate, hasCode } = await readWorldSource(file, seed);
  const { extends: named, ...rest } = (typeof value === 'object' && value !== null ? value : {}) as Plain;
  const isBased = typeof named === 'string';
  const based = isBased ? overlaid(await catalogWorld(named, seed ?? seedOf(rest)), rest) : value;
  const whole = Object.keys(overlay).length === 0 ? based : overlaid(based as Plain, overlay);
  return { ...checkDefinition(whole, file, locate), hasCode: hasCode || isBased };
}

function seedOf({ seed }: Plain): number | null {
  return typeof seed === 'number' ? seed : null;
}

/** Mappings are merged, everything else replaces. Existing clients' configuration is never merged with ours. */
function overlaid(base: object, over: Plain): Plain {
  if (isLegacyConfig(over, false)) {
    throw new CloveError('CONFIG', 'what is laid over a world must be of the form of a definition');
  }
  return merge(base as Plain, over);
}

function merge(base: Plain, over: Plain): Plain {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const was = merged[key];
    merged[key] = isMapping(was) && isMapping(value) ? merge(was, value) : value;
  }
  return merged;
}

/** Not what has a prototype of its own: handlers, services. */
function isMapping(value: unknown): value is Plain {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    [Object.prototype, null].includes(Object.getPrototypeOf(value))
  );
}
