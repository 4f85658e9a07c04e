import { hash } from 'node:crypto';

/** Answers that are kept for calls that come again. */
const MAX_CALLS = 4096;
const MAX_KEPT_BYTES = 16 * 2 ** 20;
/** A larger answer is not kept: whoever asks again is told that the call was made, and no more. */
const MAX_ANSWER_CHARS = 64 * 1024;

interface Made {
  /** Of what was asked: another call under the same key is a mistake. */
  readonly digest: string;
  /** Base64; null = not there (yet, or any more). */
  answer: string | null;
  state: 'running' | 'answered' | 'lost';
  waiting: ((answer: string) => void)[];
}

export type Seen =
  | { readonly kind: 'new' }
  /** It runs; `then` is called with the answer. */
  | { readonly kind: 'running'; readonly wait: (then: (answer: string) => void) => void }
  | { readonly kind: 'answered'; readonly answer: string }
  | { readonly kind: 'refused'; readonly reason: string };

/** Which calls were made under which key, so that none is made twice. Bounded: the oldest are forgotten first. */
export class MadeOnce {
  readonly #calls = new Map<string, Made>();
  #bytes = 0;

  /** Looks a call up, and remembers it when it is new. */
  begin(key: string, opcode: number, payload: string): Seen {
    const digest = hash('sha256', `${opcode}\n${payload}`, 'base64');
    const made = this.#calls.get(key);
    if (made === undefined) {
      this.#calls.set(key, { digest, answer: null, state: 'running', waiting: [] });
      this.#trim();
      return { kind: 'new' };
    }
    if (made.digest !== digest) {
      return { kind: 'refused', reason: 'another call was made under this key' };
    }
    if (made.state === 'running') return { kind: 'running', wait: (then) => made.waiting.push(then) };
    if (made.answer !== null) return { kind: 'answered', answer: made.answer };
    const what =
      made.state === 'answered' ? 'it was made' : 'it was begun, and whether it was done is not known';
    return { kind: 'refused', reason: `the call is not made twice: ${what}` };
  }

  answered(key: string, answer: string): void {
    const made = this.#calls.get(key);
    if (made === undefined) return;
    made.state = 'answered';
    if (answer.length <= MAX_ANSWER_CHARS) {
      made.answer = answer;
      this.#bytes += answer.length;
    }
    for (const then of made.waiting.splice(0)) then(answer);
    this.#trim();
  }

  /** It was not made after all: it may be. */
  forget(key: string): void {
    if (this.#calls.get(key)?.state === 'running') this.#calls.delete(key);
  }

  /** Whoever made it is gone before the answer. */
  lost(key: string): void {
    const made = this.#calls.get(key);
    if (made?.state !== 'running') return;
    made.state = 'lost';
    made.waiting = [];
  }

  #trim(): void {
    for (const [key, made] of this.#calls) {
      if (this.#calls.size <= MAX_CALLS && this.#bytes <= MAX_KEPT_BYTES) return;
      if (made.state === 'running') continue;
      this.#bytes -= made.answer?.length ?? 0;
      this.#calls.delete(key);
    }
  }
}
