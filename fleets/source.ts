import { isMap, isNode, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import type { z } from 'zod';
import { CloveError } from '../errors/index.ts';
import { nearest } from './suggest.ts';

export type Path = readonly (string | number)[];

/** What is wrong, and where. Lines and columns count from 1. */
export interface Problem {
  readonly line: number;
  readonly column: number;
  /** "agents.web.limits.memory"; '' = the file as a whole. */
  readonly path: string;
  readonly message: string;
}

/** A YAML file whose values know where they stand. */
export class YamlSource {
  readonly name: string;
  readonly value: unknown;
  readonly problems: Problem[] = [];
  readonly #lines = new LineCounter();
  readonly #root: unknown;

  /** `name`: how the file is called in messages. */
  constructor(name: string, text: string) {
    this.name = name;
    const document = parseDocument(text, { lineCounter: this.#lines, merge: true, uniqueKeys: true });
    this.#root = document.contents;
    for (const error of document.errors) {
      const { line, col } = this.#lines.linePos(error.pos[0]);
      // What follows the first line is a picture of the source.
      this.problems.push({
        line,
        column: col,
        path: '',
        message: error.message.split(/ at line \d+|\n/)[0] ?? '',
      });
    }
    try {
      this.value = this.problems.length === 0 ? document.toJS({ maxAliasCount: 100 }) : null;
    } catch (error) {
      this.value = null;
      this.problems.push({
        line: 1,
        column: 1,
        path: '',
        message: error instanceof Error ? error.message : String(error),
      });
    }
  }

  /** At the value of a path, or at its key; where there is none, at the nearest that encloses it. */
  report(path: Path, message: string, at: 'key' | 'value' = 'value'): void {
    const { line, col } = this.#lines.linePos(this.#offsetOf(path, at));
    this.problems.push({ line: Math.max(1, line), column: Math.max(1, col), path: pathText(path), message });
  }

  /** Everything a schema finds wrong with the value. */
  reportIssues(issues: readonly z.core.$ZodIssue[], keysOf: (path: Path) => Iterable<string>): void {
    for (const issue of issues) {
      const path = issue.path as Path;
      if (issue.code === 'unrecognized_keys') {
        for (const key of issue.keys) {
          const meant = nearest(key, keysOf(path));
          const known = [...keysOf(path)];
          const hint =
            meant !== null
              ? `; did you mean "${meant}"?`
              : known.length > 0
                ? `; known are ${known.join(', ')}`
                : '';
          this.report([...path, key], `unknown key${hint}`, 'key');
        }
        continue;
      }
      if (issue.code === 'invalid_key') {
        this.report(path, issue.issues.map(({ message }) => message).join('; '), 'key');
        continue;
      }
      // An object was meant: what is wrong inside says more than that no form fits.
      const inner = issue.code === 'invalid_union' && this.#isObject(path) ? objectForm(issue.errors) : null;
      if (inner !== null) {
        this.reportIssues(
          inner.map((each) => ({ ...each, path: [...path, ...each.path] })),
          keysOf,
        );
      } else this.report(path, this.#explain(issue, path));
    }
  }

  /** @throws CONFIG when something is wrong; `details.problems` has everything, in the order of the file */
  assertSound(): void {
    if (this.problems.length === 0) return;
    const problems = this.problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
    const [first] = problems as [Problem];
    const more = problems.length === 1 ? '' : ` (and ${problems.length - 1} more)`;
    throw new CloveError('CONFIG', `${problemText(this.name, first)}${more}`, {
      details: { file: this.name, problems },
    });
  }

  #explain(issue: z.core.$ZodIssue, path: Path): string {
    const found = this.#valueAt(path);
    const shown = found === undefined ? 'nothing' : JSON.stringify(found)?.slice(0, 60);
    if (issue.code === 'invalid_value') {
      const values = issue.values.map(String);
      const meant = typeof found === 'string' ? nearest(found, values) : null;
      const hint = meant === null ? '' : `; did you mean "${meant}"?`;
      return `expected ${values.length === 1 ? '' : 'one of '}${values.join(', ')}, found ${shown}${hint}`;
    }
    // Where the schema says it in its own words.
    if (issue.message.startsWith('expected')) return `${issue.message}; found ${shown}`;
    if (issue.code === 'invalid_type') {
      return found === undefined
        ? `missing: expected ${issue.expected}`
        : `expected ${issue.expected}, found ${shown}`;
    }
    return `${issue.message}; found ${shown}`;
  }

  #isObject(path: Path): boolean {
    const value = this.#valueAt(path);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  }

  #valueAt(path: Path): unknown {
    let value: unknown = this.value;
    for (const key of path) {
      if (typeof value !== 'object' || value === null) return undefined;
      value = (value as Record<string | number, unknown>)[key];
    }
    return value;
  }

  #offsetOf(path: Path, at: 'key' | 'value'): number {
    let node: unknown = this.#root;
    let offset = startOf(node) ?? 0;
    for (const [index, key] of path.entries()) {
      const isLast = index === path.length - 1;
      if (isMap(node)) {
        const pair = node.items.find(
          (each) => isPair(each) && isScalar(each.key) && String(each.key.value) === String(key),
        );
        if (pair === undefined) return offset;
        const keyAt = startOf(pair.key);
        offset = (isLast && at === 'key' ? keyAt : (startOf(pair.value) ?? keyAt)) ?? offset;
        node = pair.value;
      } else if (isSeq(node)) {
        node = node.items[Number(key)];
        offset = startOf(node) ?? offset;
      } else return offset;
    }
    return offset;
  }
}

export function problemText(file: string, { line, column, path, message }: Problem): string {
  return `${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}${message}`;
}

function startOf(node: unknown): number | null {
  return isNode(node) ? ((node as Node).range?.[0] ?? null) : null;
}

/** What the form for objects finds wrong; null = there is none. */
function objectForm(errors: readonly (readonly z.core.$ZodIssue[])[]): readonly z.core.$ZodIssue[] | null {
  return (
    errors.find((issues) =>
      issues.every(({ path, code }) => path.length > 0 || code === 'unrecognized_keys'),
    ) ?? null
  );
}

function pathText(path: Path): string {
  return path
    .map((key, index) => (typeof key === 'number' ? `[${key}]` : index === 0 ? key : `.${key}`))
    .join('');
}
