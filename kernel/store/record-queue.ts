import { type CallEntry, ChunkPool, type RecordChunk } from './record-chunk.ts';

/** An audit record on its way to the disk. */
export interface Draft {
  readonly chain: number;
  readonly agentId: number;
  /** Its text (canonical JSON) or what that is made of; asked for when it is queued: until then the outcome may change. */
  content(): string | CallEntry;
  /** A write carries it: it becomes durable with that, or is undone with it. */
  attached(): void;
  /** It is on disk. */
  committed(): void;
  /** It belongs to a write that was undone, and will be recorded as one that failed. */
  undone(): void;
  /** The log cannot be written now. It stays queued; whoever waits for it should not. */
  delayed(reason: string): void;
}

/** Records that were dropped because there was no room for them while the log could not be written. */
export interface Gap {
  readonly chain: number;
  count: number;
  /** ms since the epoch. */
  firstMs: number;
  lastMs: number;
}

/** What may wait: records, and bytes of them. */
export interface QueueCapacity {
  readonly records: number;
  readonly bytes: number;
}

/** Records that are written together. */
export interface RecordBatch {
  readonly chunks: readonly RecordChunk[];
  readonly count: number;
  readonly bytes: number;
  /** Those of them that are told when they are on disk. */
  readonly watched: readonly Draft[];
}

const NO_RECORDS: RecordBatch = { chunks: [], count: 0, bytes: 0, watched: [] };

/** Records that wait for the disk; bounded, and what does not fit is counted, so that its absence will be recorded. */
export class RecordQueue {
  readonly #capacity: QueueCapacity;
  readonly #pool = new ChunkPool();
  #chunks: RecordChunk[] = [];
  #count = 0;
  #bytes = 0;
  #watched: Draft[] = [];
  #gaps = new Map<number, Gap>();

  constructor(capacity: QueueCapacity) {
    this.#capacity = capacity;
  }

  get length(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count >= this.#capacity.records || this.#bytes >= this.#capacity.bytes;
  }

  get isEmpty(): boolean {
    return this.#count === 0 && this.#gaps.size === 0;
  }

  /** A draft that is not watched is let go of: nobody asks it what became of it. */
  push(draft: Draft, nowMs: number, isWatched: boolean): void {
    if (!this.isFull) {
      this.#append(draft, isWatched);
      return;
    }
    const gap = this.#gaps.getOrInsertComputed(draft.chain, () => ({
      chain: draft.chain,
      count: 0,
      firstMs: nowMs,
      lastMs: nowMs,
    }));
    gap.count += 1;
    gap.lastMs = nowMs;
    draft.delayed('more records wait for the disk than there is room for');
  }

  /** Everything, in order; what was lost comes behind what was not. */
  take(describeGap: (gap: Gap) => Draft): RecordBatch {
    for (const gap of this.#gaps.values()) this.#append(describeGap(gap), false);
    this.#gaps.clear();
    if (this.#count === 0) return NO_RECORDS;
    const batch = { chunks: this.#chunks, count: this.#count, bytes: this.#bytes, watched: this.#watched };
    this.#chunks = [];
    this.#count = 0;
    this.#bytes = 0;
    this.#watched = [];
    return batch;
  }

  /** Records that are written besides those that wait here, ahead of them. */
  batchOf(drafts: readonly Draft[]): RecordBatch {
    if (drafts.length === 0) return NO_RECORDS;
    const chunks: RecordChunk[] = [];
    let bytes = 0;
    for (const draft of drafts) {
      const content = draft.content();
      this.#pool.append(chunks, draft.chain, draft.agentId, content);
      bytes += sizeOf(content);
    }
    return { chunks, count: drafts.length, bytes, watched: drafts };
  }

  /** Back to the front: nothing else was written meanwhile. */
  putBack(batches: readonly RecordBatch[]): void {
    const all = [
      ...batches,
      { chunks: this.#chunks, count: this.#count, bytes: this.#bytes, watched: this.#watched },
    ];
    this.#chunks = [];
    const emptied: RecordChunk[] = [];
    for (const chunk of all.flatMap(({ chunks }) => chunks)) {
      // While the log cannot be written, this happens again and again, mostly for a few records.
      if (this.#chunks.at(-1)?.absorb(chunk) === true) emptied.push(chunk);
      else this.#chunks.push(chunk);
    }
    this.#pool.release(emptied);
    this.#watched = all.flatMap(({ watched }) => watched);
    this.#count = all.reduce((sum, { count }) => sum + count, 0);
    this.#bytes = all.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** It is on disk, or its records were written anew. */
  release({ chunks }: RecordBatch): void {
    this.#pool.release(chunks);
  }

  delayAll(reason: string): void {
    for (const draft of this.#watched) draft.delayed(reason);
  }

  #append(draft: Draft, isWatched: boolean): void {
    const content = draft.content();
    this.#pool.append(this.#chunks, draft.chain, draft.agentId, content);
    this.#count += 1;
    this.#bytes += sizeOf(content);
    if (isWatched) this.#watched.push(draft);
  }
}

function sizeOf(content: string | CallEntry): number {
  return typeof content === 'string' ? content.length : content.usedBytes;
}
