/** The last bytes of one output stream: bounded, oldest dropped first, and it says how many. */
export class LogBuffer {
  readonly capacityBytes: number;
  /** All that was ever written. */
  totalBytes = 0;
  #ring: Buffer | null = null;
  #end = 0;
  #length = 0;
  readonly #listeners = new Set<() => void>();

  constructor(capacityBytes: number) {
    this.capacityBytes = capacityBytes;
  }

  get keptBytes(): number {
    return this.#length;
  }

  get droppedBytes(): number {
    return this.totalBytes - this.#length;
  }

  append(chunk: Uint8Array): void {
    this.totalBytes += chunk.length;
    this.#keep(chunk);
    for (const listener of this.#listeners) listener();
  }

  /** Tells of every chunk that comes, until the function that it returns is called. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #keep(chunk: Uint8Array): void {
    if (this.capacityBytes === 0 || chunk.length === 0) return;
    const kept =
      chunk.length > this.capacityBytes ? chunk.subarray(chunk.length - this.capacityBytes) : chunk;
    const ring = this.#roomFor(this.#length + kept.length);
    const first = Math.min(kept.length, ring.length - this.#end);
    ring.set(kept.subarray(0, first), this.#end);
    ring.set(kept.subarray(first), 0);
    this.#end = (this.#end + kept.length) % ring.length;
    this.#length = Math.min(ring.length, this.#length + kept.length);
  }

  /** The last `maxBytes` kept, as a copy. */
  tail(maxBytes: number = this.#length): Buffer {
    const length = Math.max(0, Math.min(maxBytes, this.#length));
    return this.read(this.totalBytes - length, length);
  }

  /** What is kept of `maxBytes` behind the first `from` ever written, as a copy. */
  read(from: number, maxBytes: number): Buffer {
    const ring = this.#ring;
    const back = this.totalBytes - Math.max(from, this.droppedBytes);
    const length = Math.min(back, maxBytes);
    if (ring === null || length <= 0) return Buffer.alloc(0);
    const start = (this.#end - back + ring.length) % ring.length;
    if (start + length <= ring.length) return Buffer.from(ring.subarray(start, start + length));
    return Buffer.concat([ring.subarray(start), ring.subarray(0, start + length - ring.length)], length);
  }

  /** Forgets the bytes, keeps the counts. */
  discard(): void {
    this.#ring = null;
    this.#end = 0;
    this.#length = 0;
  }

  /** Most agents print little: the ring grows by doubling up to its capacity. */
  #roomFor(wantedBytes: number): Buffer {
    const ring = this.#ring;
    if (ring !== null && (ring.length >= wantedBytes || ring.length === this.capacityBytes)) return ring;
    let size = ring?.length ?? 256;
    while (size < wantedBytes) size *= 2;
    const grown = Buffer.alloc(Math.min(size, this.capacityBytes));
    const content = this.tail();
    content.copy(grown);
    this.#ring = grown;
    this.#end = content.length % grown.length;
    this.#length = content.length;
    return grown;
  }
}
