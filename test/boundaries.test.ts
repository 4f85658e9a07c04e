import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

/**
 * Who may import whom. Dependencies point one way: cli → bench → worlds → kernel → native. A line here is a decision;
 * to add an arrow, change docs/design/boundaries.md with it.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  native: ['errors'],
  kernel: ['native', 'errors'],
  worlds: ['kernel', 'native', 'errors'],
  bench: ['worlds', 'kernel', 'native', 'errors', 'sdk'],
  reports: [
    'bench/types.ts',
    'bench/metric.ts',
    'bench/parameter-text.ts',
    'bench/write-file.ts',
    'bench/compare/types.ts',
    'native/types.ts',
    'errors',
  ],
  sdk: ['kernel/protocol', 'kernel/wire/codec.ts', 'errors'],
  scenarios: ['sdk', 'bench', 'worlds', 'errors'],
  fleets: ['sdk', 'kernel', 'errors'],
  cli: ['bench', 'worlds', 'kernel', 'native', 'reports', 'scenarios', 'fleets', 'sdk', 'errors'],
};

/** Types alone may be taken from further away: they are gone at run time. */
const MAY_IMPORT_TYPES: Readonly<Record<string, readonly string[]>> = {
  sdk: ['kernel', 'native/types.ts'],
  scenarios: ['kernel', 'native/types.ts'],
};

const root = path.dirname(import.meta.dirname);
const IMPORT = /^\s*(import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'(\.[^']+)'/gm;

interface Arrow {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

function arrowsOf(folder: string): Arrow[] {
  return globSync(`${folder}/**/*.ts`, { cwd: root })
    .filter((file) => !file.endsWith('.test.ts'))
    .flatMap((file) =>
      [...readFileSync(path.join(root, file), 'utf8').matchAll(IMPORT)].map((match) => ({
        from: file,
        to: path.join(path.dirname(file), match[3] ?? ''),
        typeOnly: match[2] !== undefined,
      })),
    );
}

const within = (file: string, place: string) => file === place || file.startsWith(`${place}/`);

describe('dependencies between folders', () => {
  it.each(Object.keys(MAY_IMPORT))('%s imports only what it may', (folder) => {
    const arrows = arrowsOf(folder);
    const allowed = [folder, ...(MAY_IMPORT[folder] ?? [])];
    const allowedTypes = [...allowed, ...(MAY_IMPORT_TYPES[folder] ?? [])];
    const forbidden = arrows.filter(
      ({ to, typeOnly }) => !(typeOnly ? allowedTypes : allowed).some((place) => within(to, place)),
    );
    expect(forbidden.map(({ from, to }) => `${from} → ${to} (see test/boundaries.test.ts)`)).toEqual([]);
  });

  it('sees the imports it judges', () => {
    expect(arrowsOf('cli').length).toBeGreaterThan(5);
    expect(arrowsOf('kernel').some(({ to }) => within(to, 'native'))).toBe(true);
  });

  it('finds every relative import to be of a file that exists', () => {
    const files = new Set(globSync('**/*.ts', { cwd: root, exclude: ['node_modules/**', 'dist/**'] }));
    const dangling = Object.keys(MAY_IMPORT)
      .flatMap(arrowsOf)
      .filter(({ to }) => !files.has(to));
    expect(dangling).toEqual([]);
  });

  it('keeps agents light: what the SDK loads at run time pulls in no package', () => {
    const seen = new Set<string>();
    const queue = ['sdk/typescript/index.ts'];
    const packages: string[] = [];
    while (queue.length > 0) {
      const file = queue.pop() as string;
      if (seen.has(file)) continue;
      seen.add(file);
      const text = readFileSync(path.join(root, file), 'utf8');
      for (const [, , typeOnly, to] of text.matchAll(
        /^\s*(import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm,
      )) {
        if (typeOnly || !to) continue;
        if (to.startsWith('.')) queue.push(path.join(path.dirname(file), to));
        else if (!to.startsWith('node:')) packages.push(`${file} → ${to}`);
      }
    }
    expect(packages).toEqual([]);
  });
});
