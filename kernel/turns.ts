import { Shares } from './shares.ts';

/** What one lane may do before the next one has its turn: so many requests, or as many as begin within this time. */
const SLICE = 32;
const SLICE_MS = 0.25;
/** How long lanes are served before the event loop has its turn: whatever came in meanwhile is then seen. */
const BUDGET_MS = 0.5;

interface Lane<Item> {
  readonly id: number;
  readonly isFirst: boolean;
  /** Whose turn it is after this one. */
  next: Lane<Item> | null;
  /** Those before the head were served, and are nobody's any more: what is still named here would outlive two collections. */
  items: (Item | undefined)[];
  head: number;
}

/**
 * Lanes in the order of their turns. A flood takes its turn thousands of times a second: what that would allocate in a map that
 * is deleted from and added to again grew the kernel by megabytes.
 */
class Row<Item> {
  readonly #lanes = new Map<number, Lane<Item>>();
  #head: Lane<Item> | null = null;
  #tail: Lane<Item> | null = null;

  /** With the one whose turn it is. */
  get size(): number {
    return this.#lanes.size;
  }

  get(id: number): Lane<Item> | undefined {
    return this.#lanes.get(id);
  }

  /** To the end of the row: a new one, or the one whose turn it was. */
  add(lane: Lane<Item>): void {
    if (!this.#lanes.has(lane.id)) this.#lanes.set(lane.id, lane);
    lane.next = null;
    if (this.#tail === null) this.#head = lane;
    else this.#tail.next = lane;
    this.#tail = lane;
  }

  /** The one whose turn it is now; it has to be added again, or removed. */
  take(): Lane<Item> | null {
    const lane = this.#head;
    if (lane === null) return null;
    this.#head = lane.next;
    if (this.#head === null) this.#tail = null;
    lane.next = null;
    return lane;
  }

  remove({ id }: Lane<Item>): void {
    this.#lanes.delete(id);
  }
}

export interface TurnsOptions<Item> {
  readonly serve: (item: Item) => void;
  /**
   * Milliseconds until the next item of a lane may be served; 0 = now. A lane that has to wait holds nobody up, and what its
   * caller goes on sending is not read once enough of it waits (native/wire.ts, outstandingRequests).
   */
  readonly pauseMs?: (laneId: number) => number;
}

/**
 * Work in turns, one lane per caller, so that nobody waits for a flood of somebody else's requests: a lane with little to do is
 * done within one round. Lanes of operators are served before those of agents in each round. Within a lane the order is kept.
 */
export class Turns<Item> {
  readonly #serve: (item: Item) => void;
  readonly #pauseMs: (laneId: number) => number;
  readonly #first = new Row<Item>();
  readonly #others = new Row<Item>();
  /** Lanes that wait for their own sake. */
  readonly #paused = new Map<number, Lane<Item>>();
  /** Of the others: whoever is first is never held up. */
  readonly #shares = new Shares();
  #scheduled = false;

  constructor({ serve, pauseMs = () => 0 }: TurnsOptions<Item>) {
    this.#serve = serve;
    this.#pauseMs = pauseMs;
  }

  /** Nothing waits for its turn; a paused lane does not. */
  get isIdle(): boolean {
    return this.#first.size === 0 && this.#others.size === 0;
  }

  add(laneId: number, isFirst: boolean, item: Item): void {
    const lanes = isFirst ? this.#first : this.#others;
    const lane = lanes.get(laneId) ?? this.#paused.get(laneId);
    if (lane === undefined) lanes.add({ id: laneId, isFirst, next: null, items: [item], head: 0 });
    else lane.items.push(item);
  }

  /** Serves an item at once if nothing waits before it. False = it has to be added. */
  serveNow(laneId: number, isFirst: boolean, item: Item): boolean {
    if (!this.isIdle || this.#paused.has(laneId)) return false;
    const nowMs = performance.now();
    if (this.#waitMs(laneId, isFirst, nowMs) > 0) return false;
    this.#serve(item);
    if (!isFirst) this.#shares.took(laneId, nowMs, performance.now());
    return true;
  }

  #waitMs(laneId: number, isFirst: boolean, nowMs: number): number {
    return this.#pauseMs(laneId) || (isFirst ? 0 : this.#shares.pauseMs(laneId, nowMs));
  }

  #pause(lane: Lane<Item>, forMs: number): void {
    this.#paused.set(lane.id, lane);
    setTimeout(() => {
      this.#paused.delete(lane.id);
      (lane.isFirst ? this.#first : this.#others).add(lane);
      this.run();
    }, forMs);
  }

  /** Serves until all is done or the budget is used up; then goes on by itself in the next turn of the event loop. */
  run(): void {
    if (this.#scheduled) return;
    const deadline = performance.now() + BUDGET_MS;
    while (!this.isIdle) {
      this.#round(this.#first, deadline);
      if (this.#round(this.#others, deadline)) continue;
      if (this.isIdle) return;
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        this.run();
      });
      return;
    }
  }

  /** One slice of each lane, those that waited longest first. False = the time is up. */
  #round(lanes: Row<Item>, deadline: number): boolean {
    for (let left = lanes.size; left > 0; left -= 1) {
      const lane = lanes.take();
      if (lane === null) break;
      const pauseMs = this.#slice(lane);
      // To the end of the round, and out of it when there is nothing left, or nothing to be served yet.
      if (lane.head < lane.items.length && pauseMs === 0) lanes.add(lane);
      else lanes.remove(lane);
      if (pauseMs > 0) this.#pause(lane, pauseMs);
      if (performance.now() >= deadline) return false;
    }
    return performance.now() < deadline;
  }

  /** Serves some items of a lane; how many milliseconds those that are left have to wait, 0 = none. */
  #slice(lane: Lane<Item>): number {
    const { id, isFirst } = lane;
    const end = Math.min(lane.items.length, lane.head + SLICE);
    const startedMs = performance.now();
    let nowMs = startedMs;
    let pauseMs = 0;
    do {
      pauseMs = this.#waitMs(id, isFirst, nowMs);
      if (pauseMs > 0) break;
      const item = lane.items[lane.head] as Item;
      lane.items[lane.head] = undefined;
      lane.head += 1;
      this.#serve(item);
      const endedMs = performance.now();
      if (!isFirst) this.#shares.took(id, nowMs, endedMs);
      nowMs = endedMs;
    } while (lane.head < end && nowMs < startedMs + SLICE_MS);
    if (lane.head >= 1024 && lane.head < lane.items.length) {
      lane.items = lane.items.slice(lane.head);
      lane.head = 0;
    }
    return pauseMs;
  }
}
