import { type Lane, Lanes, Row } from './lanes.ts';
import { Shares } from './shares.ts';

/** What one lane may do before the next one has its turn: so many requests, or as many as begin within this time. */
const SLICE = 32;
const SLICE_MS = 0.25;
/** How long lanes are served before the event loop has its turn: whatever came in meanwhile is then seen. */
const BUDGET_MS = 0.5;

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
  readonly #lanes = new Lanes<Item>();
  readonly #first = new Row<Item>();
  readonly #others = new Row<Item>();
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
    const lane = this.#lanes.get(laneId) ?? this.#lanes.make(laneId, isFirst);
    lane.push(item);
    if (lane.isWaiting) return;
    lane.isWaiting = true;
    this.#rowOf(lane).add(lane);
  }

  /** Serves an item at once if nothing waits before it. False = it has to be added. */
  serveNow(laneId: number, isFirst: boolean, item: Item): boolean {
    if (!this.isIdle || this.#lanes.get(laneId)?.isWaiting === true) return false;
    const nowMs = performance.now();
    if (this.#waitMs(laneId, isFirst, nowMs) > 0) return false;
    this.#serve(item);
    if (!isFirst) this.#shares.took(laneId, nowMs, performance.now());
    return true;
  }

  #rowOf({ isFirst }: Lane<Item>): Row<Item> {
    return isFirst ? this.#first : this.#others;
  }

  #waitMs(laneId: number, isFirst: boolean, nowMs: number): number {
    return this.#pauseMs(laneId) || (isFirst ? 0 : this.#shares.pauseMs(laneId, nowMs));
  }

  #pause(lane: Lane<Item>, forMs: number): void {
    setTimeout(() => {
      this.#rowOf(lane).add(lane);
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
      if (pauseMs > 0) this.#pause(lane, pauseMs);
      else if (lane.length > 0) lanes.add(lane);
      else lane.isWaiting = false;
      if (performance.now() >= deadline) return false;
    }
    return performance.now() < deadline;
  }

  /** Serves some items of a lane; how many milliseconds those that are left have to wait, 0 = none. */
  #slice(lane: Lane<Item>): number {
    const { id, isFirst } = lane;
    const startedMs = performance.now();
    let nowMs = startedMs;
    for (let left = Math.min(lane.length, SLICE); left > 0; left -= 1) {
      const pauseMs = this.#waitMs(id, isFirst, nowMs);
      if (pauseMs > 0) return pauseMs;
      this.#serve(lane.shift());
      const endedMs = performance.now();
      if (!isFirst) this.#shares.took(id, nowMs, endedMs);
      nowMs = endedMs;
      if (nowMs >= startedMs + SLICE_MS) break;
    }
    return 0;
  }
}
