import type { RecordForm } from './record-form.ts';

/** Of one chunk, unless a record needs more. */
const CHUNK_BYTES = 128 * 1024;
/** Chunks that are kept for later. */
const KEPT_CHUNKS = 8;
/** Kind and chain, agent id, bytes that follow; four bytes each, before every entry. */
const HEADER_BYTES = 12;
const HEADER_WORDS = HEADER_BYTES / 4;

/** Entries of a chunk, as native/addon/audit_chain.cc reads them: a record's whole text, a form, a call that refers to one. */
const KIND = { whole: 0, form: 1, call: 2 } as const;

/** Of a call's entry behind its header: how far back its form is, in bytes, then what the record itself has written. */
export const CALL_WORDS = 9;
const FORM_TEXTS = 6;

/** A record that is its form and what it has of its own. */
export interface CallEntry {
  readonly form: RecordForm;
  /** CALL_WORDS numbers, of which the first is left open, and texts; see CallBytes. */
  readonly words: Uint32Array;
  /** Bytes of them in use. */
  readonly usedBytes: number;
}

let lastId = 0;

function nextId(): number {
  lastId += 1;
  return lastId;
}

/** What a chunk is to the thread that writes it to disk: no copy is made. */
export interface SharedRecords {
  readonly buffer: SharedArrayBuffer;
  readonly usedBytes: number;
}

/**
 * Audit records as bytes in memory that two threads share, one behind the other. A record stops being an object here: thousands a
 * second that live until the next transaction are what makes a collector work. What records have in common is written once.
 */
export class RecordChunk {
  /** Another one after it was emptied: forms that were written before are gone. */
  id = nextId();
  readonly #buffer: SharedArrayBuffer;
  readonly #bytes: Buffer;
  readonly #words: Uint32Array;
  #usedBytes = 0;

  constructor(bytes: number) {
    this.#buffer = new SharedArrayBuffer(bytes);
    this.#bytes = Buffer.from(this.#buffer);
    this.#words = new Uint32Array(this.#buffer);
  }

  /** Texts are printable ASCII. false = it does not fit. */
  append(chain: number, agentId: number, content: string | CallEntry): boolean {
    if (typeof content !== 'string') return this.#appendCall(chain, agentId, content);
    const at = this.#usedBytes;
    const end = at + HEADER_BYTES + content.length;
    if (end > this.#bytes.length) return false;
    this.#putHeader(KIND.whole, chain, agentId, content.length);
    this.#bytes.write(content, at + HEADER_BYTES, 'latin1');
    this.#usedBytes = (end + 3) & ~3;
    return true;
  }

  #appendCall(chain: number, agentId: number, { form, words, usedBytes }: CallEntry): boolean {
    if (form.chunkId !== this.id && !this.#putForm(form)) return false;
    const at = this.#usedBytes;
    const end = at + HEADER_BYTES + usedBytes;
    if (end > this.#bytes.length) return false;
    this.#putHeader(KIND.call, chain, agentId, usedBytes);
    const own = this.#words;
    const first = (at >>> 2) + HEADER_WORDS;
    own[first] = at - form.at;
    const count = (usedBytes + 3) >>> 2;
    for (let index = 1; index < count; index += 1) own[first + index] = words[index] as number;
    this.#usedBytes = (end + 3) & ~3;
    return true;
  }

  #putForm(form: RecordForm): boolean {
    const at = this.#usedBytes;
    const end = at + HEADER_BYTES + form.bytes;
    if (end > this.#bytes.length) return false;
    this.#putHeader(KIND.form, 0, 0, form.bytes);
    const word = (at >>> 2) + HEADER_WORDS;
    for (const [index, { length }] of form.texts.entries()) this.#words[word + index] = length;
    this.#bytes.write(form.texts.join(''), at + HEADER_BYTES + FORM_TEXTS * 4, 'latin1');
    this.#usedBytes = (end + 3) & ~3;
    form.chunkId = this.id;
    form.at = at;
    return true;
  }

  #putHeader(kind: number, chain: number, agentId: number, bytes: number): void {
    const word = this.#usedBytes >>> 2;
    this.#words[word] = (kind << 16) | chain;
    this.#words[word + 1] = agentId;
    this.#words[word + 2] = bytes;
  }

  /** Takes over the records of another chunk, behind its own. false = there is no room for them. */
  absorb(other: RecordChunk): boolean {
    const end = this.#usedBytes + other.#usedBytes;
    if (end > this.#bytes.length) return false;
    other.#bytes.copy(this.#bytes, this.#usedBytes, 0, other.#usedBytes);
    this.#usedBytes = end;
    return true;
  }

  get isUsual(): boolean {
    return this.#bytes.length === CHUNK_BYTES;
  }

  get shared(): SharedRecords {
    return { buffer: this.#buffer, usedBytes: this.#usedBytes };
  }

  clear(): void {
    this.#usedBytes = 0;
    this.id = nextId();
  }
}

/** Chunks to fill, and those that were emptied. */
export class ChunkPool {
  readonly #free: RecordChunk[] = [];

  /** Appends to the last of `chunks`, or to a new one behind it. */
  append(chunks: RecordChunk[], chain: number, agentId: number, content: string | CallEntry): void {
    if (chunks.at(-1)?.append(chain, agentId, content) === true) return;
    const needed = bytesOf(content) + 3;
    const chunk =
      (needed <= CHUNK_BYTES ? this.#free.pop() : undefined) ??
      new RecordChunk(Math.max(CHUNK_BYTES, needed & ~3));
    chunk.append(chain, agentId, content);
    chunks.push(chunk);
  }

  /** Nobody reads them any more. */
  release(chunks: readonly RecordChunk[]): void {
    for (const chunk of chunks) {
      if (!chunk.isUsual || this.#free.length >= KEPT_CHUNKS) continue;
      chunk.clear();
      this.#free.push(chunk);
    }
  }
}

/** Of an entry in a chunk of its own. */
function bytesOf(content: string | CallEntry): number {
  if (typeof content === 'string') return HEADER_BYTES + content.length;
  return 2 * HEADER_BYTES + content.form.bytes + 3 + content.usedBytes;
}
