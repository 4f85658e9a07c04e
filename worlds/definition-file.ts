import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { LineCounter, parseDocument } from 'yaml';
import { CloveError } from '../errors/index.ts';
import { type WorldDefinition, worldSchema } from './definition.ts';
import { flatten } from './issues.ts';
import { definitionFromLegacy, isLegacyConfig } from './legacy/config.ts';

const MAX_FILE_BYTES = 32 * 2 ** 20;
/** An alias that stands for much is a bomb. */
const MAX_ALIASES = 100;

/** One mistake, where it is. */
export interface DefinitionIssue {
  /** Dots between names: `schedule.2.at`. */
  readonly path: string;
  /** From 1; null = it is not known (the definition came as data). */
  readonly line: number | null;
  readonly column: number | null;
  readonly message: string;
}

export interface ReadDefinition {
  /** As written, plain JSON but for code. */
  readonly input: Readonly<Record<string, unknown>>;
  readonly definition: WorldDefinition;
  /** What has no effect, and why. */
  readonly warnings: readonly string[];
  /** It holds functions: it can be had again only from where it came. */
  readonly hasCode: boolean;
}

export type Locate = (at: readonly PropertyKey[]) => { line: number; column: number } | null;

/** What a world file says, unchecked. */
export interface WorldSource {
  readonly value: unknown;
  readonly locate: Locate;
  readonly hasCode: boolean;
}

/** Reads a world file: YAML, JSON, or a module of TypeScript or JavaScript. @throws CONFIG, DATA_MISSING */
export async function readWorldSource(file: string, seed: number | null = null): Promise<WorldSource> {
  const extension = path.extname(file).toLowerCase();
  const facts = await stat(file).catch((cause: unknown) => {
    throw new CloveError('DATA_MISSING', `no world file ${file}`, { cause });
  });
  if (!facts.isFile()) throw new CloveError('CONFIG', `${file} is no file`);
  if (facts.size > MAX_FILE_BYTES) {
    throw new CloveError('CONFIG', `${file} is larger than ${MAX_FILE_BYTES} bytes`);
  }
  if (['.ts', '.mts', '.js', '.mjs'].includes(extension)) return fromModule(file, seed);
  return parseWorldText(await readFile(file, 'utf8'), file);
}

/** YAML (JSON is YAML, too). @throws CONFIG */
export function parseWorldText(text: string, file: string): WorldSource {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, strict: true });
  const position = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  if (document.errors.length > 0) {
    const issues = document.errors.slice(0, 20).map(({ message, pos }) => ({
      path: '',
      ...position(pos[0]),
      message: (message.split('\n')[0] ?? message).replace(/ at line \d+, column \d+:$/, ''),
    }));
    throw invalid(file, issues);
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    throw invalid(file, [{ path: '', line: null, column: null, message: (error as Error).message }]);
  }
  const locate: Locate = (at) => {
    // What is missing has no place: the nearest that is there has.
    for (let length = at.length; length >= 0; length -= 1) {
      const node = length === 0 ? document.contents : document.getIn(at.slice(0, length), true);
      const range = (node as { range?: [number, number, number] } | null | undefined)?.range;
      if (range !== undefined) return position(range[0]);
    }
    return null;
  };
  return { value: value ?? {}, locate, hasCode: false };
}

/** Checks a definition, or the configuration of an existing client. @throws CONFIG with all mistakes */
export function checkDefinition(
  value: unknown,
  source: string,
  locate: Locate = () => null,
  isFromClient = false,
): ReadDefinition {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(source, [
      { path: '', line: 1, column: 1, message: 'expected a mapping with name, files, network …' },
    ]);
  }
  const given = value as Readonly<Record<string, unknown>>;
  const { input, warnings } = isLegacyConfig(given, isFromClient)
    ? definitionFromLegacy(given)
    : { input: given, warnings: [] };
  const parsed = worldSchema.safeParse(input);
  if (!parsed.success) {
    const issues = parsed.error.issues.flatMap((issue) => flatten(issue, [], input)).slice(0, 50);
    throw invalid(
      source,
      issues.map(({ at, message }) => {
        const place = locate(at);
        return {
          path: at.map(String).join('.'),
          line: place?.line ?? null,
          column: place?.column ?? null,
          message,
        };
      }),
    );
  }
  return { input, definition: parsed.data, warnings, hasCode: false };
}

/** A module may make its world of the seed. */
async function fromModule(file: string, seed: number | null): Promise<WorldSource> {
  let module: { default?: unknown };
  try {
    module = (await import(pathToFileURL(path.resolve(file)).href)) as { default?: unknown };
  } catch (cause) {
    throw new CloveError('CONFIG', `${file} cannot be loaded: ${(cause as Error).message}`, { cause });
  }
  if (module.default === undefined) {
    throw new CloveError('CONFIG', `${file}: the default export must be defineWorld({ … })`);
  }
  const { default: world } = module;
  const value: unknown = typeof world === 'function' ? await world(seed ?? 1) : world;
  return { value, locate: () => null, hasCode: true };
}

function invalid(source: string, issues: readonly DefinitionIssue[]): CloveError {
  const [first] = issues;
  const shown = first === undefined ? 'no world' : describeIssue(source, first);
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : '';
  return new CloveError('CONFIG', `${shown}${more}`, { details: { source, issues } });
}

/** `world.yaml:12:5: schedule.0.at: expected …` */
export function describeIssue(source: string, { path: at, line, column, message }: DefinitionIssue): string {
  const place = line === null ? source : `${source}:${line}:${column ?? 1}`;
  return at === '' ? `${place}: ${message}` : `${place}: ${at}: ${message}`;
}
