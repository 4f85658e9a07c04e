import { hash } from 'node:crypto';
import { toSortedJson } from '../json.ts';

/** The one text of a JSON value: compact, keys ascending. What is not JSON stays as it is. */
export function canonicalText(text: string): string {
  try {
    return toSortedJson(JSON.parse(text));
  } catch {
    return text;
  }
}

/** Names a call by its content: the same for the same opcode and request, however the request was written down. */
export function callKey(opcode: number, request: string): string {
  return hash('sha256', `${opcode}\n${canonicalText(request)}`);
}

/** Counts how often each key of each caller came, from 0. */
export class Occurrences {
  readonly #counts = new Map<string, number>();

  next(agent: number, incarnation: number, key: string): number {
    const name = `${agent}.${incarnation}.${key}`;
    const count = this.#counts.get(name) ?? 0;
    this.#counts.set(name, count + 1);
    return count;
  }
}
