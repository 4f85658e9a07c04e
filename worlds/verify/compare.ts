import { compareTrees } from '../filesystem/changes.ts';
import type { TreeEntry } from '../filesystem/types.ts';
import type { OutputEvidence, RunEvidence } from './evidence.ts';
import type { JournalEvent } from './journal.ts';

export type Aspect = 'events' | 'stdout' | 'stderr' | 'exit' | 'files' | 'state';

/** Where two runs part, in one respect: what the first had and what the second. */
export interface Difference {
  readonly aspect: Aspect;
  /** `event 12 (http of run)`, `line 3 of stdout`, `/work/out.txt`, `state.cart.total` … */
  readonly where: string;
  /** null = there is nothing on this side. */
  readonly first: string | null;
  readonly second: string | null;
  /** Of files that are text: the unified diff from first to second. */
  readonly patch?: string;
}

export interface Comparison {
  readonly identical: boolean;
  /** The first of each aspect, in the order in which they are looked at: events come first, since all else follows from them. */
  readonly differences: readonly Difference[];
  /** Whether events are compared in one order and with their times, or by source and without. */
  readonly exact: boolean;
  readonly compared: { readonly events: number; readonly files: number; readonly stateKeys: number };
}

const MAX_SHOWN = 2000;

export interface CompareOptions {
  readonly exact: boolean;
  /** Whether the times of files are the world's own. */
  readonly fileTimes: boolean;
  /** Content of files by address, of both runs. */
  content(hash: string): Buffer;
}

export function compareRuns(first: RunEvidence, second: RunEvidence, options: CompareOptions): Comparison {
  const differences = [
    firstEvent(first.events, second.events, options.exact),
    firstLine('stdout', first.stdout, second.stdout),
    firstLine('stderr', first.stderr, second.stderr),
    first.ended === second.ended
      ? null
      : ({ aspect: 'exit', where: 'how it ended', first: first.ended, second: second.ended } as const),
    firstFile(first.files, second.files, options),
    firstState(first.state, second.state),
  ].filter((one) => one !== null);
  return {
    identical: differences.length === 0,
    differences,
    exact: options.exact,
    compared: { events: first.events.length, files: first.files.length, stateKeys: first.state.size },
  };
}

function firstEvent(
  first: readonly JournalEvent[],
  second: readonly JournalEvent[],
  exact: boolean,
): Difference | null {
  if (exact) return firstOf(first, second, (index, source) => `event ${index + 1} (${source})`);
  // Without an order among sources the earliest of what each of them did differently is the first.
  const sources = Map.groupBy(first, ({ source }) => source);
  const others = Map.groupBy(second, ({ source }) => source);
  let earliest: { readonly difference: Difference; readonly atMs: number } | null = null;
  for (const source of new Set([...sources.keys(), ...others.keys()])) {
    const own = sources.get(source) ?? [];
    const their = others.get(source) ?? [];
    const difference = firstOf(own, their, (index) => `event ${index + 1} of ${source}`);
    if (difference === null) continue;
    const index = own.findIndex((event, at) => event.text !== their[at]?.text);
    const atMs = own[index]?.atMs ?? their[own.length]?.atMs ?? 0;
    if (earliest === null || atMs < earliest.atMs) earliest = { difference, atMs };
  }
  return earliest?.difference ?? null;
}

function firstOf(
  first: readonly JournalEvent[],
  second: readonly JournalEvent[],
  nameOf: (index: number, source: string) => string,
): Difference | null {
  for (let index = 0; index < Math.max(first.length, second.length); index += 1) {
    const [a, b] = [first[index], second[index]];
    if (a !== undefined && b !== undefined && a.text === b.text && a.source === b.source) continue;
    const sources = [...new Set([a?.source, b?.source].filter((one) => one !== undefined))].join(' / ');
    const [textOfA, textOfB] = apart(a?.text ?? null, b?.text ?? null);
    return { aspect: 'events', where: nameOf(index, sources), first: textOfA, second: textOfB };
  }
  return null;
}

function firstLine(
  aspect: 'stdout' | 'stderr',
  first: OutputEvidence,
  second: OutputEvidence,
): Difference | null {
  if (first.sha256 === second.sha256) return null;
  const [a, b] = [first, second].map(({ kept }) => kept.toString('utf8').split('\n')) as [string[], string[]];
  let line = 0;
  while (line < a.length && line < b.length && a[line] === b[line]) line += 1;
  if (line >= a.length && line >= b.length)
    return {
      aspect,
      where: `${aspect}, beyond its first ${first.kept.length} bytes`,
      first: `${first.bytes} bytes, sha256 ${first.sha256}`,
      second: `${second.bytes} bytes, sha256 ${second.sha256}`,
    };
  const [textOfA, textOfB] = apart(a[line] ?? null, b[line] ?? null);
  return { aspect, where: `line ${line + 1} of ${aspect}`, first: textOfA, second: textOfB };
}

function firstFile(
  first: readonly TreeEntry[],
  second: readonly TreeEntry[],
  { content, fileTimes }: CompareOptions,
): Difference | null {
  const [change] = compareTrees({ before: first, after: second, content });
  const find = (entries: readonly TreeEntry[], path: string) => entries.find((entry) => entry.path === path);
  if (change !== undefined) {
    const { path, patch } = change;
    const [a, b] = [find(first, path), find(second, path)];
    return {
      aspect: 'files',
      where: path,
      first: a === undefined ? null : described(a),
      second: b === undefined ? null : described(b),
      ...(patch === undefined ? {} : { patch }),
    };
  }
  if (!fileTimes) return null;
  const other = new Map(second.map((entry) => [entry.path, entry.mtimeMs]));
  const touched = first.find(({ path, mtimeMs }) => other.get(path) !== mtimeMs);
  if (touched === undefined) return null;
  const time = (ms: number | undefined) => new Date(ms ?? 0).toISOString();
  return {
    aspect: 'files',
    where: `${touched.path} (modified)`,
    first: time(touched.mtimeMs),
    second: time(other.get(touched.path)),
  };
}

function described({ kind, mode, size, hash, target }: TreeEntry): string {
  const what = kind === 'link' ? ` → ${target}` : kind === 'file' ? `, ${size} bytes, sha256 ${hash}` : '';
  return `${kind} ${mode.toString(8).padStart(4, '0')}${what}`;
}

function firstState(
  first: ReadonlyMap<string, string>,
  second: ReadonlyMap<string, string>,
): Difference | null {
  for (const where of [...new Set([...first.keys(), ...second.keys()])].sort()) {
    const [a, b] = [first.get(where) ?? null, second.get(where) ?? null];
    if (a === b) continue;
    const [textOfA, textOfB] = apart(a, b);
    return { aspect: 'state', where, first: textOfA, second: textOfB };
  }
  return null;
}

/** Long texts are shown from a little before where they part. */
function apart(a: string | null, b: string | null): [string | null, string | null] {
  if (a === null || b === null) return [cut(a, 0), cut(b, 0)];
  let same = 0;
  while (same < a.length && same < b.length && a[same] === b[same]) same += 1;
  const from = Math.max(a.length, b.length) <= MAX_SHOWN ? 0 : Math.max(0, same - 80);
  return [cut(a, from), cut(b, from)];
}

function cut(text: string | null, from: number): string | null {
  if (text === null || (from === 0 && text.length <= MAX_SHOWN)) return text;
  const end = from + MAX_SHOWN;
  return `${from > 0 ? '… ' : ''}${text.slice(from, end)}${end < text.length ? ' …' : ''}`;
}
