const SLASH = 0x2f;
/** A code point that no pattern contains: stands for every one that is not named in the patterns compared. */
const OTHER = -2;
const ANY_NAME = -1;

/** How much work one comparison of policies may be: beyond it the answer is no. */
export class Budget {
  #left: number;

  constructor(steps = 10_000) {
    this.#left = steps;
  }

  spend(): boolean {
    this.#left -= 1;
    return this.#left >= 0;
  }
}

/**
 * One pattern of absolute paths. `*` and `?` stay within a name; `**` crosses folders, and between two slashes it may also
 * stand for no folder at all. Names that begin with a dot are names like any other; there is no escape character. A `closed`
 * pattern also matches whatever lies below a path it matches.
 *
 * An automaton with one bit per state, so that no pattern, however contrived, takes longer than its length times the path's.
 */
export class Glob {
  readonly #words: number;
  /** Token that leads from state n to n + 1. */
  readonly #steps: readonly number[];
  /** Every match begins with it. */
  readonly #prefix: string;
  /** Every match contains it: most paths are told apart by that alone. */
  readonly #literal: string;
  readonly #byCodePoint = new Map<number, Uint32Array>();
  readonly #anyName: Uint32Array;
  readonly #loopsOnAny: Uint32Array;
  readonly #loopsOnName: Uint32Array;
  readonly #skips: Uint32Array;
  readonly #accepting: Uint32Array;

  constructor(pattern: string, closed: boolean) {
    const { steps, loops, skips } = parse(pattern);
    const end = steps.length;
    this.#steps = steps;
    this.#prefix = /^[^*?]*/.exec(pattern)?.[0] ?? '';
    this.#literal = longestLiteral(pattern);
    // Below a matched path: a slash, then anything.
    if (closed && loops.get(end) !== 'any') {
      steps.push(SLASH);
      loops.set(end + 1, 'any');
    }
    this.#words = Math.ceil((steps.length + 1) / 32);
    this.#anyName = this.#none();
    this.#loopsOnAny = this.#none();
    this.#loopsOnName = this.#none();
    this.#skips = this.#none();
    this.#accepting = this.#none();
    for (const token of steps) {
      if (token !== ANY_NAME) this.#byCodePoint.getOrInsertComputed(token, () => this.#none());
    }
    for (const [state, token] of steps.entries()) {
      if (token === ANY_NAME) {
        setBit(this.#anyName, state);
        for (const [codePoint, mask] of this.#byCodePoint) if (codePoint !== SLASH) setBit(mask, state);
      } else setBit(this.#byCodePoint.get(token) as Uint32Array, state);
    }
    for (const [state, kind] of loops) {
      setBit(this.#loopsOnName, state);
      if (kind === 'any') setBit(this.#loopsOnAny, state);
    }
    for (const state of skips) setBit(this.#skips, state);
    setBit(this.#accepting, end);
    if (closed) setBit(this.#accepting, steps.length);
  }

  matches(path: string): boolean {
    if (!path.includes(this.#literal)) return false;
    let states = this.#start();
    let spare = this.#none();
    for (const character of path) {
      const next = this.#advance(states, character.codePointAt(0) as number, spare);
      spare = states;
      states = next;
    }
    return this.#accepts(states);
  }

  /** Whether every path this one matches is matched by the other. Never yes by mistake; no when the budget is used up. */
  isWithin(other: Glob, budget: Budget): boolean {
    if (!this.#prefix.startsWith(other.#prefix)) return false;
    const seen = new Set<string>();
    const queue: [Uint32Array, Uint32Array][] = [[this.#start(), other.#start()]];
    for (let pair = queue.pop(); pair !== undefined; pair = queue.pop()) {
      const [mine, theirs] = pair;
      if (this.#accepts(mine) && !other.#accepts(theirs)) return false;
      for (const codePoint of this.#telling(mine, other, theirs)) {
        if (!budget.spend()) return false;
        const next = this.#advance(mine, codePoint, this.#none());
        if (isEmpty(next)) continue;
        const nextOfOther = other.#advance(theirs, codePoint, other.#none());
        const key = `${next.join()}|${nextOfOther.join()}`;
        if (seen.has(key)) continue;
        seen.add(key);
        queue.push([next, nextOfOther]);
      }
    }
    return true;
  }

  /** Code points that lead on from these states, and one for all that none of the states tells from others. */
  #telling(mine: Uint32Array, other: Glob, theirs: Uint32Array): Set<number> {
    const telling = this.#literals(mine);
    if (overlaps(mine, this.#loopsOnName) || overlaps(mine, this.#anyName)) {
      for (const codePoint of other.#literals(theirs)) telling.add(codePoint);
      telling.add(OTHER);
    }
    if (overlaps(mine, this.#loopsOnAny)) telling.add(SLASH);
    return telling;
  }

  /** What the states wait for by name. */
  #literals(states: Uint32Array): Set<number> {
    const found = new Set<number>();
    for (const [index, word] of states.entries()) {
      for (let rest = word; rest !== 0; rest &= rest - 1) {
        const token = this.#steps[index * 32 + (31 - Math.clz32(rest & -rest))];
        if (token !== undefined && token !== ANY_NAME) found.add(token);
      }
    }
    return found;
  }

  #none(): Uint32Array {
    return new Uint32Array(this.#words);
  }

  #start(): Uint32Array {
    const states = this.#none();
    setBit(states, 0);
    return states;
  }

  #accepts(states: Uint32Array): boolean {
    return states.some((word, index) => (word & (this.#accepting[index] as number)) !== 0);
  }

  #advance(states: Uint32Array, codePoint: number, into: Uint32Array): Uint32Array {
    const isSlash = codePoint === SLASH;
    const stepping = this.#byCodePoint.get(codePoint) ?? (isSlash ? null : this.#anyName);
    const looping = isSlash ? this.#loopsOnAny : this.#loopsOnName;
    let carry = 0;
    let skipCarry = 0;
    for (let index = 0; index < this.#words; index += 1) {
      const word = states[index] as number;
      const moving = stepping === null ? 0 : word & (stepping[index] as number);
      const entered = (moving << 1) | carry;
      carry = moving >>> 31;
      const skipping = entered & (this.#skips[index] as number);
      into[index] = entered | (skipping << 1) | skipCarry | (word & (looping[index] as number));
      skipCarry = skipping >>> 31;
    }
    return into;
  }
}

interface Parsed {
  readonly steps: number[];
  readonly loops: Map<number, 'any' | 'name'>;
  /** States that, when entered, are also passed: no folder at all. */
  readonly skips: number[];
}

function parse(pattern: string): Parsed {
  const steps: number[] = [];
  const loops = new Map<number, 'any' | 'name'>();
  const skips: number[] = [];
  const plain = pattern.replace(/\*{3,}/g, '**').replace(/(?<=\/)(?:\*\*\/)+/g, '**/');
  const tokens = plain.match(/\*\*|./gsu) ?? [];
  for (const [index, token] of tokens.entries()) {
    if (token === '*') {
      if (loops.get(steps.length) !== 'any') loops.set(steps.length, 'name');
    } else if (token === '**') {
      loops.set(steps.length, 'any');
      if (tokens[index - 1] === '/' && tokens[index + 1] === '/') skips.push(steps.length);
    } else steps.push(token === '?' ? ANY_NAME : (token.codePointAt(0) as number));
  }
  return { steps, loops, skips };
}

function longestLiteral(pattern: string): string {
  return pattern
    .split(/[*?]+/)
    .reduce((longest, each) => (each.length > longest.length ? each : longest), '');
}

function setBit(words: Uint32Array, bit: number): void {
  words[bit >>> 5] = (words[bit >>> 5] as number) | (1 << (bit & 31));
}

function overlaps(a: Uint32Array, b: Uint32Array): boolean {
  return a.some((word, index) => (word & (b[index] as number)) !== 0);
}

function isEmpty(words: Uint32Array): boolean {
  return words.every((word) => word === 0);
}
