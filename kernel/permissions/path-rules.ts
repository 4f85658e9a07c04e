import path from 'node:path';
import type { AllOf } from './all-of.ts';
import { type Budget, Glob } from './glob.ts';

/** How a pattern is meant: one that does not begin at the root is looked for anywhere. */
export function absolutePattern(pattern: string): string {
  if (pattern.startsWith('/')) return pattern;
  if (/^\*+$/.test(pattern)) return '/**';
  return `/**/${pattern.replace(/^\*+\//, '')}`;
}

/** Spelling counts for what is allowed. For what is blocked neither case nor the form of accents does: rather too much than too little. */
function fold(text: string): string {
  return text.normalize('NFC').toLowerCase().normalize('NFC');
}

const allowGlobs = new Map<string, Glob>();
const blockGlobs = new Map<string, Glob>();
const MAX_CACHED = 4096;

function cached(cache: Map<string, Glob>, pattern: string, make: () => Glob): Glob {
  const known = cache.get(pattern);
  if (known !== undefined) return known;
  if (cache.size >= MAX_CACHED) cache.clear();
  const glob = make();
  cache.set(pattern, glob);
  return glob;
}

function allowGlob(pattern: string): Glob {
  return cached(allowGlobs, pattern, () => new Glob(absolutePattern(pattern), false));
}

function blockGlob(pattern: string): Glob {
  return cached(blockGlobs, pattern, () => new Glob(fold(absolutePattern(pattern)), true));
}

/**
 * Which rule keeps a caller from an absolute path, null = none does. What is blocked stays blocked whatever else allows it,
 * with all that lies below.
 */
export function pathRefusal(
  file: string,
  operation: 'read' | 'write',
  allowed: AllOf,
  blocked: readonly string[],
): string | null {
  if (allowed.length === 0 && blocked.length === 0) return null;
  // A name that is not UTF-8 cannot be compared with anything.
  if (file.includes('\uFFFD') || !file.isWellFormed()) return 'path.not-text';
  const normal = path.posix.normalize(file);
  if (!normal.startsWith('/')) return 'path.not-absolute';
  const folded = fold(normal);
  const blocking = blocked.find((pattern) => blockGlob(pattern).matches(folded));
  if (blocking !== undefined) return `path.blocked:${blocking}`;
  const isAllowed = allowed.every((list) => list.some((pattern) => allowGlob(pattern).matches(normal)));
  return isAllowed ? null : `path.not-granted:${operation}`;
}

export function isPathWithin(a: string, b: string, budget: Budget): boolean {
  return a === b || allowGlob(a).isWithin(allowGlob(b), budget);
}

export function isBlockWithin(a: string, b: string, budget: Budget): boolean {
  return a === b || blockGlob(a).isWithin(blockGlob(b), budget);
}
