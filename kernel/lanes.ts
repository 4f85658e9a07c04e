/**
 * Lanes, and rows of them. A flood has its turn thousands of times a second, and whatever is thrown away at such a rate does harm: an
 * object that was kept long enough to be old keeps what it names until the whole heap is collected, be it a map that was replaced by
 * a smaller one or an array by its rest. So all of this is made once and used again.
 */

const FIRST_ROOM = 16;
/** A ring that a burst made larger is not kept. */
const KEPT_ROOM = 1024;
/** Lanes from which on those that nobody needs are looked for. */
const SWEEP_FROM = 256;

/** What one caller has asked for and has not been served, in its order. */
export class Lane<Item> {
  readonly id: number;
  readonly isFirst: boolean;
  /** In a row, having its turn, or paused: nobody is to give it another turn. */
  isWaiting = false;
  /** Whose turn it is after this one. */
  next: Lane<Item> | null = null;
  #ring: (Item | undefined)[] = roomFor(FIRST_ROOM);
  #head = 0;
  #length = 0;

  constructor(id: number, isFirst: boolean) {
    this.id = id;
    this.isFirst = isFirst;
  }

  get length(): number {
    return this.#length;
  }

  push(item: Item): void {
    if (this.#length === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.#length) & (this.#ring.length - 1)] = item;
    this.#length += 1;
  }

  /** The one that waited longest; there has to be one. It is nobody's any more. */
  shift(): Item {
    const item = this.#ring[this.#head] as Item;
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#length -= 1;
    if (this.#length === 0 && this.#ring.length > KEPT_ROOM) {
      this.#ring = roomFor(FIRST_ROOM);
      this.#head = 0;
    }
    return item;
  }

  #grow(): void {
    const ring = roomFor<Item>(this.#ring.length * 2);
    for (let index = 0; index < this.#length; index += 1)
      ring[index] = this.#ring[(this.#head + index) & (this.#ring.length - 1)];
    this.#ring.fill(undefined);
    this.#ring = ring;
    this.#head = 0;
  }
}

/** A power of two, so that a place in it is found by its lower bits. */
function roomFor<Item>(size: number): (Item | undefined)[] {
  return new Array<Item | undefined>(size).fill(undefined);
}

/** Lanes in the order of their turns. */
export class Row<Item> {
  #head: Lane<Item> | null = null;
  #tail: Lane<Item> | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** To the end of the row; it must not be in one. */
  add(lane: Lane<Item>): void {
    lane.next = null;
    if (this.#tail === null) this.#head = lane;
    else this.#tail.next = lane;
    this.#tail = lane;
    this.#size += 1;
  }

  /** The one whose turn it is now. */
  take(): Lane<Item> | null {
    const lane = this.#head;
    if (lane === null) return null;
    this.#head = lane.next;
    if (this.#head === null) this.#tail = null;
    lane.next = null;
    this.#size -= 1;
    return lane;
  }
}

/** The lane of each caller, for as long as it may be needed again. */
export class Lanes<Item> {
  readonly #lanes = new Map<number, Lane<Item>>();
  #sweepAt = SWEEP_FROM;

  get size(): number {
    return this.#lanes.size;
  }

  get(id: number): Lane<Item> | undefined {
    return this.#lanes.get(id);
  }

  make(id: number, isFirst: boolean): Lane<Item> {
    if (this.#lanes.size >= this.#sweepAt) this.#forgetIdle();
    const lane = new Lane<Item>(id, isFirst);
    this.#lanes.set(id, lane);
    return lane;
  }

  #forgetIdle(): void {
    for (const [id, { isWaiting }] of this.#lanes) if (!isWaiting) this.#lanes.delete(id);
    this.#sweepAt = Math.max(SWEEP_FROM, 2 * this.#lanes.size);
  }
}
