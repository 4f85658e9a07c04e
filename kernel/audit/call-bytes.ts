import { CALL_WORDS } from '../store/record-chunk.ts';
import { canonicalString } from './canonical.ts';

/** Where in the words of a call each of its numbers stands; the first is the chunk's. */
const AT = {
  monotonicUs: 1,
  wallMs: 3,
  detailsLength: 5,
  objectLength: 6,
  worldLength: 7,
  outcomeLength: 8,
} as const;
const TEXTS_AT = CALL_WORDS * 4;
/** Longer than any outcome, which is written last. */
const OUTCOME_BYTES = 64;
const FIRST_BYTES = 16 * 1024;
const TWO_32 = 2 ** 32;

/**
 * What a call's record has of its own, as the bytes that are handed to the thread that writes them. One such place serves for all calls
 * that end before the next begins: no object and no text of them is made.
 */
export class CallBytes {
  words: Uint32Array;
  bytes: Uint8Array;
  #end = 0;

  constructor(bytes = FIRST_BYTES) {
    this.words = new Uint32Array(Math.ceil(bytes / 4));
    this.bytes = new Uint8Array(this.words.buffer);
  }

  begin(monotonicUs: number, wallMs: number): void {
    const { words } = this;
    words[AT.monotonicUs] = monotonicUs % TWO_32;
    words[AT.monotonicUs + 1] = monotonicUs / TWO_32;
    words[AT.wallMs] = wallMs % TWO_32;
    words[AT.wallMs + 1] = wallMs / TWO_32;
    this.#end = TEXTS_AT;
  }

  get end(): number {
    return this.#end;
  }

  /** So many bytes may be written from `end` on. */
  reserve(bytes: number): void {
    if (this.#end + bytes + OUTCOME_BYTES <= this.bytes.length) return;
    const words = new Uint32Array((this.#end + bytes + OUTCOME_BYTES) >>> 1);
    words.set(this.words);
    this.words = words;
    this.bytes = new Uint8Array(words.buffer);
  }

  /** The details reach to here. */
  endDetails(end: number): void {
    this.words[AT.detailsLength] = end - this.#end;
    this.#end = end;
  }

  endObject(end: number): void {
    this.words[AT.objectLength] = end - this.#end;
    this.#end = end;
  }

  putWorld(worldTime: string | null): void {
    const text = worldTime === null ? '' : canonicalString(worldTime);
    this.words[AT.worldLength] = text.length;
    this.reserve(text.length);
    this.#end = putAscii(this.bytes, this.#end, text);
  }

  /** May be called again, with another one. Returns the bytes in use. */
  putOutcome(outcome: string): number {
    this.words[AT.outcomeLength] = outcome.length;
    return putAscii(this.bytes, this.#end, outcome);
  }

  /** The same, in a place of its own. */
  copy(): CallBytes {
    const copy = new CallBytes(this.#end + OUTCOME_BYTES);
    copy.bytes.set(this.bytes.subarray(0, this.#end));
    copy.#end = this.#end;
    return copy;
  }

  get monotonicUs(): number {
    return (this.words[AT.monotonicUs] as number) + (this.words[AT.monotonicUs + 1] as number) * TWO_32;
  }

  get wallMs(): number {
    return (this.words[AT.wallMs] as number) + (this.words[AT.wallMs + 1] as number) * TWO_32;
  }

  /** As they were written. */
  get texts(): { readonly details: string; readonly object: string; readonly world: string } {
    const { words } = this;
    const detailsEnd = TEXTS_AT + (words[AT.detailsLength] as number);
    const objectEnd = detailsEnd + (words[AT.objectLength] as number);
    const text = (from: number, to: number) => Buffer.from(this.bytes.buffer).toString('latin1', from, to);
    return {
      details: text(TEXTS_AT, detailsEnd),
      object: text(detailsEnd, objectEnd),
      world: text(objectEnd, objectEnd + (words[AT.worldLength] as number)),
    };
  }
}

/** Of printable ASCII only. Returns the end. */
export function putAscii(bytes: Uint8Array, from: number, text: string): number {
  let at = from;
  for (let index = 0; index < text.length; index += 1) {
    bytes[at] = text.charCodeAt(index);
    at += 1;
  }
  return at;
}
