/** Of one chunk, unless a record needs more. */
const CHUNK_BYTES = 128 * 1024;
/** Chunks that are kept for later. */
const KEPT_CHUNKS = 8;
/** Chain, agent id, length of the body; four bytes each, before the body. */
const HEADER_BYTES = 12;

/** What a chunk is to the thread that writes it to disk: no copy is made. */
export interface SharedRecords {
  readonly buffer: SharedArrayBuffer;
  readonly usedBytes: number;
}

/**
 * Audit records as bytes in memory that two threads share, one behind the other. A record stops being an object here: thousands a
 * second that live until the next transaction are what makes a collector work.
 */
export class RecordChunk {
  readonly #buffer: SharedArrayBuffer;
  readonly #bytes: Buffer;
  readonly #words: Uint32Array;
  #usedBytes = 0;

  constructor(bytes: number) {
    this.#buffer = new SharedArrayBuffer(bytes);
    this.#bytes = Buffer.from(this.#buffer);
    this.#words = new Uint32Array(this.#buffer);
  }

  /** Bodies are printable ASCII. false = it does not fit. */
  append(chain: number, agentId: number, body: string): boolean {
    const at = this.#usedBytes;
    const end = at + HEADER_BYTES + body.length;
    if (end > this.#bytes.length) return false;
    const word = at >>> 2;
    this.#words[word] = chain;
    this.#words[word + 1] = agentId;
    this.#words[word + 2] = body.length;
    this.#bytes.write(body, at + HEADER_BYTES, 'latin1');
    this.#usedBytes = (end + 3) & ~3;
    return true;
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
  }
}

/** Chunks to fill, and those that were emptied. */
export class ChunkPool {
  readonly #free: RecordChunk[] = [];

  /** Appends to the last of `chunks`, or to a new one behind it. */
  append(chunks: RecordChunk[], chain: number, agentId: number, body: string): void {
    if (chunks.at(-1)?.append(chain, agentId, body) === true) return;
    const needed = HEADER_BYTES + body.length + 3;
    const chunk =
      (needed <= CHUNK_BYTES ? this.#free.pop() : undefined) ??
      new RecordChunk(Math.max(CHUNK_BYTES, needed & ~3));
    chunk.append(chain, agentId, body);
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

/** Where records stand in chunks, in their order; nothing of them is copied. */
export class RecordIndex {
  readonly chains: number[] = [];
  readonly agentIds: number[] = [];
  /** Which of `buffers`, and the first and the last but one byte there. */
  readonly #chunks: number[] = [];
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #buffers: Buffer[] = [];

  constructor(chunks: readonly SharedRecords[]) {
    for (const [number, { buffer, usedBytes }] of chunks.entries()) {
      const words = new Uint32Array(buffer, 0, usedBytes >>> 2);
      this.#buffers.push(Buffer.from(buffer, 0, usedBytes));
      for (let at = 0; at < usedBytes; ) {
        const word = at >>> 2;
        const start = at + HEADER_BYTES;
        const end = start + (words[word + 2] as number);
        this.chains.push(words[word] as number);
        this.agentIds.push(words[word + 1] as number);
        this.#chunks.push(number);
        this.#starts.push(start);
        this.#ends.push(end);
        at = (end + 3) & ~3;
      }
    }
  }

  get length(): number {
    return this.chains.length;
  }

  bytesOf(at: number): number {
    return (this.#ends[at] as number) - (this.#starts[at] as number);
  }

  body(at: number): string {
    return this.#bufferOf(at).toString('latin1', this.#starts[at], this.#ends[at]);
  }

  /** Returns how many bytes were written. */
  copyBody(at: number, to: Buffer, toAt: number): number {
    return this.#bufferOf(at).copy(to, toAt, this.#starts[at] as number, this.#ends[at] as number);
  }

  #bufferOf(at: number): Buffer {
    return this.#buffers[this.#chunks[at] as number] as Buffer;
  }
}
