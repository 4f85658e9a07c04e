import { Cron } from 'croner';
import type { WorldClock, WorldTimer } from '../clock/types.ts';
import type { RandomStream } from '../luck/streams.ts';
import type { Condition, ScheduleEntry } from './schema.ts';

export interface ScheduleOptions {
  readonly entries: readonly ScheduleEntry[];
  readonly clock: Pick<WorldClock, 'nowMs' | 'monotonicMs' | 'setTimer'>;
  random(purpose: string): RandomStream;
  /** Does what an entry says. */
  perform(entry: ScheduleEntry, name: string): void | Promise<void>;
  /** Whether a condition holds now. `happened`: names of entries that have come about. */
  holds(condition: Condition, happened: ReadonlySet<string>): boolean;
  /** Told of every entry that came about, with what went wrong; null = nothing did. */
  readonly onHappened: (name: string, error: Error | null) => void;
}

/** Of one entry: how often it came about, and when it does next. */
export interface EntryState {
  readonly name: string;
  readonly count: number;
  /** On the world's clock since its start; null = it waits for a condition, or is done. */
  readonly dueMs: number | null;
  /** When it is counted from: jitter and delays are on top. */
  readonly baseMs: number | null;
  /** Its condition held when it was last looked at. */
  readonly held: boolean;
}

interface Live {
  readonly entry: ScheduleEntry;
  readonly name: string;
  readonly cron: Cron | null;
  readonly times: number;
  count: number;
  dueMs: number | null;
  baseMs: number | null;
  held: boolean;
  timer: WorldTimer | null;
}

/** What happens in a world, and when: at times, by a calendar, again and again, or when something is so. */
export class Schedule {
  readonly #options: ScheduleOptions;
  readonly #live: readonly Live[];
  readonly #conditional: readonly Live[];
  readonly #happened = new Set<string>();
  #checking: NodeJS.Immediate | null = null;
  #closed = false;

  constructor(options: ScheduleOptions) {
    this.#options = options;
    this.#live = options.entries.map((entry, index) => ({
      entry,
      name: entry.name ?? `entry-${index + 1}`,
      cron: entry.cron === undefined ? null : new Cron(entry.cron, { paused: true, timezone: 'UTC' }),
      times:
        entry.times ?? (entry.cron !== undefined || entry.every !== undefined ? Number.POSITIVE_INFINITY : 1),
      count: 0,
      dueMs: null,
      baseMs: null,
      held: false,
      timer: null,
    }));
    this.#conditional = this.#live.filter(({ entry }) => entry.when !== undefined);
  }

  start(): void {
    for (const live of this.#live) this.#armNext(live, null);
    this.poke();
  }

  /** Something may have become so: conditions are looked at when what goes on now is done. */
  poke(): void {
    if (this.#closed || this.#checking !== null || this.#conditional.length === 0) return;
    this.#checking = setImmediate(() => {
      this.#checking = null;
      this.#check();
    });
  }

  get pending(): number {
    return this.#live.filter(
      ({ dueMs, entry, count, times }) => dueMs !== null || (entry.when !== undefined && count < times),
    ).length;
  }

  /** The next entries by their time, at most so many. */
  upcoming(limit: number): readonly { readonly name: string; readonly dueMs: number }[] {
    return this.#live
      .flatMap(({ name, dueMs }) => (dueMs === null ? [] : [{ name, dueMs }]))
      .sort((a, b) => a.dueMs - b.dueMs)
      .slice(0, limit);
  }

  snapshot(): readonly EntryState[] {
    return this.#live.map(({ name, count, dueMs, baseMs, held }) => ({ name, count, dueMs, baseMs, held }));
  }

  /** Goes on where another stood, in place of start(). Both have the same entries. */
  restore(states: readonly EntryState[]): void {
    for (const [index, state] of states.entries()) {
      const live = this.#live[index];
      if (live === undefined) continue;
      live.count = state.count;
      live.held = state.held;
      live.baseMs = state.baseMs;
      if (state.count > 0) this.#happened.add(live.name);
      if (state.dueMs !== null) this.#arm(live, state.dueMs);
    }
    this.poke();
  }

  close(): void {
    this.#closed = true;
    if (this.#checking !== null) clearImmediate(this.#checking);
    for (const live of this.#live) live.timer?.cancel();
  }

  #check(): void {
    for (const live of this.#conditional) {
      const { when } = live.entry;
      if (when === undefined || live.dueMs !== null || live.count >= live.times) continue;
      const holds = this.#options.holds(when, this.#happened);
      // Only when it becomes so.
      const isNew = holds && !live.held;
      live.held = holds;
      if (isNew) this.#arm(live, this.#options.clock.monotonicMs() + this.#delayOf(live));
    }
  }

  /** `afterMs`: the time counted from of the last one; null = there was none. */
  #armNext(live: Live, afterMs: number | null): void {
    const { entry } = live;
    if (live.count >= live.times || entry.when !== undefined) return;
    const baseMs = this.#nextBase(live, afterMs);
    live.baseMs = baseMs;
    if (baseMs !== null) this.#arm(live, baseMs + this.#delayOf(live));
  }

  #nextBase({ entry, cron }: Live, afterMs: number | null): number | null {
    if (cron !== null) {
      const { clock } = this.#options;
      const startMs = clock.nowMs() - clock.monotonicMs();
      const next = cron.nextRun(new Date(startMs + (afterMs ?? 0)));
      return next === null ? null : next.getTime() - startMs;
    }
    if (entry.every !== undefined) {
      return afterMs === null ? (entry.at ?? entry.every) : afterMs + entry.every;
    }
    return afterMs === null ? (entry.at ?? null) : afterMs;
  }

  #delayOf({ entry, name }: Live): number {
    if (entry.jitter === 0) return entry.after;
    return entry.after + this.#options.random(`schedule/${name}`).next() * entry.jitter;
  }

  #arm(live: Live, dueMs: number): void {
    live.dueMs = dueMs;
    live.timer = this.#options.clock.setTimer(dueMs, () => this.#fire(live));
  }

  #fire(live: Live): void {
    if (this.#closed) return;
    live.timer = null;
    live.dueMs = null;
    live.count += 1;
    this.#happened.add(live.name);
    const { onHappened } = this.#options;
    try {
      const done = this.#options.perform(live.entry, live.name);
      if (done instanceof Promise) {
        done.then(
          () => onHappened(live.name, null),
          (error: unknown) => onHappened(live.name, error as Error),
        );
      } else onHappened(live.name, null);
    } catch (error) {
      onHappened(live.name, error as Error);
    }
    try {
      this.#armNext(live, live.baseMs);
    } catch (error) {
      // Beyond what a date holds: it does not come again.
      onHappened(live.name, error as Error);
    }
    this.poke();
  }
}
