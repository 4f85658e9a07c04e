/** An audit record on its way to the disk. */
export interface Draft {
  readonly chain: number;
  readonly agentId: number;
  /** Roughly, in memory. Bytes. */
  readonly size: number;
  /** Its text, asked for when it is sent: until then the outcome may change. Canonical JSON. */
  body(): string;
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

/** Records that wait for the disk; bounded, and what does not fit is counted, so that its absence will be recorded. */
export class RecordQueue {
  readonly #capacity: QueueCapacity;
  #drafts: Draft[] = [];
  #bytes = 0;
  #gaps = new Map<number, Gap>();

  constructor(capacity: QueueCapacity) {
    this.#capacity = capacity;
  }

  get length(): number {
    return this.#drafts.length;
  }

  get isFull(): boolean {
    return this.#drafts.length >= this.#capacity.records || this.#bytes >= this.#capacity.bytes;
  }

  get isEmpty(): boolean {
    return this.#drafts.length === 0 && this.#gaps.size === 0;
  }

  push(draft: Draft, nowMs: number): void {
    if (!this.isFull) {
      this.#drafts.push(draft);
      this.#bytes += draft.size;
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
  take(describeGap: (gap: Gap) => Draft): Draft[] {
    const drafts = this.#drafts;
    this.#drafts = [];
    this.#bytes = 0;
    for (const gap of this.#gaps.values()) drafts.push(describeGap(gap));
    this.#gaps.clear();
    return drafts;
  }

  /** Back to the front: nothing else was written meanwhile. */
  putBack(drafts: readonly Draft[]): void {
    this.#drafts = [...drafts, ...this.#drafts];
    for (const { size } of drafts) this.#bytes += size;
  }

  delayAll(reason: string): void {
    for (const draft of this.#drafts) draft.delayed(reason);
  }
}
