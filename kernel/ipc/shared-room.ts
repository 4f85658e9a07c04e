import type { Sized } from './waiting-queue.ts';

/** A principal by its id, or what is none (a world) by its name. */
export type SourceId = number | string;

/** Something that may lie in many queues at once and takes up room once. */
export interface Shared extends Sized {
  /** Whose doing it is. */
  readonly sourceId: SourceId;
  /** In how many queues it lies; its room is given back when it is in none. */
  holders: number;
}

export interface RoomLimits {
  /** What one source may take up: nobody can use up `totalBytes` alone. */
  readonly sourceBytes: number;
  readonly totalBytes: number;
}

/** Memory that many queues share: how much is taken, and by whom. */
export class SharedRoom {
  readonly #limits: RoomLimits;
  readonly #bySource = new Map<SourceId, number>();
  #totalBytes = 0;

  constructor(limits: RoomLimits) {
    this.#limits = limits;
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  sourceBytes(sourceId: SourceId): number {
    return this.#bySource.get(sourceId) ?? 0;
  }

  hasRoom(sourceId: SourceId, bytes: number): boolean {
    return (
      this.sourceBytes(sourceId) + bytes <= this.#limits.sourceBytes &&
      this.#totalBytes + bytes <= this.#limits.totalBytes
    );
  }

  hold(item: Shared): void {
    item.holders += 1;
    if (item.holders > 1) return;
    this.#totalBytes += item.bytes;
    this.#bySource.set(item.sourceId, this.sourceBytes(item.sourceId) + item.bytes);
  }

  leave(item: Shared): void {
    item.holders -= 1;
    if (item.holders > 0) return;
    this.#totalBytes -= item.bytes;
    const left = this.sourceBytes(item.sourceId) - item.bytes;
    if (left > 0) this.#bySource.set(item.sourceId, left);
    else this.#bySource.delete(item.sourceId);
  }
}
