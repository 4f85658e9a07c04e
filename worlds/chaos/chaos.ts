import { CloveError } from '../../errors/index.ts';
import type { WorldTimer } from '../clock/types.ts';
import { compileGlob } from '../network/patterns.ts';
import { Partition } from '../partition.ts';
import { begin, type Effect, type EffectRecord, end } from './effects.ts';
import { type EventKind, parseEvent, type WorldEvent } from './kinds.ts';
import type { ChaosConfig } from './schema.ts';
import type { ChaosTarget } from './target.ts';

/** Lasting events of one world at a time. */
const MAX_ACTIVE = 1000;
const KEPT_HISTORY = 500;
/** Faults that only take time. */
const DELAYS: ReadonlySet<string> = new Set(['slow', 'latency', 'bandwidth']);

/** One event that goes on, as it is told and kept. */
export interface ActiveEvent {
  readonly id: string;
  readonly kind: EventKind;
  readonly params: Readonly<Record<string, unknown>>;
  /** `hand`, `rule:<name>`, `schedule:<name>`. */
  readonly source: string;
  /** On the world's clock since its start. */
  readonly sinceMs: number;
  /** null = until it is cleared. */
  readonly untilMs: number | null;
  readonly record: EffectRecord;
}

export interface EventHistory {
  readonly id: string;
  readonly kind: EventKind;
  readonly source: string;
  readonly sinceMs: number;
  readonly endedMs: number | null;
  readonly touched: readonly string[];
}

interface Live {
  readonly event: ActiveEvent;
  readonly effect: Pick<Effect, 'record' | 'release'>;
  /** Ends it at its time. */
  until: WorldTimer | null;
  /** Of a load spike. */
  nextRequest: WorldTimer | null;
  readonly partition: Partition | null;
  readonly isUrl: ((url: string) => boolean) | null;
  hits: number;
}

export interface ChaosState {
  readonly last: number;
  readonly injected: number;
  readonly failures: number;
  readonly delays: number;
  readonly active: readonly ActiveEvent[];
  readonly rules: readonly (number | null)[];
}

/** What goes wrong in a world: events that act at once or for a while, and rules by which they come. */
export class Chaos {
  readonly #config: ChaosConfig;
  readonly #target: ChaosTarget;
  /** Sources of the rules that hold from the start. */
  readonly #standing: ReadonlySet<string>;
  readonly #live = new Map<string, Live>();
  readonly #history: EventHistory[] = [];
  readonly #ruleTimers = new Map<number, { readonly dueMs: number; readonly timer: WorldTimer }>();
  readonly #onEvent: (event: EventHistory) => void;
  #last = 0;
  #injected = 0;
  /** Calls that events which are over made fail. */
  #failures = 0;
  #delays = 0;

  constructor(config: ChaosConfig, target: ChaosTarget, onEvent: (event: EventHistory) => void) {
    this.#config = config;
    this.#target = target;
    this.#standing = new Set(
      config.rules.flatMap((rule, index) => (rule.every === undefined ? [sourceOf(rule, index)] : [])),
    );
    this.#onEvent = onEvent;
  }

  /** The rules hold from now on. */
  start(): void {
    if (!this.#config.enabled) return;
    for (const [index, rule] of this.#config.rules.entries()) {
      if (rule.every === undefined) this.#apply(index);
      else this.#armRule(index, this.#target.clock.monotonicMs() + rule.every);
    }
  }

  get injected(): number {
    return this.#injected;
  }

  get ruleCount(): number {
    return this.#config.enabled ? this.#config.rules.length : 0;
  }

  active(): readonly ActiveEvent[] {
    return [...this.#live.values()].map(({ event }) => event);
  }

  /** Those that have come about; not the rules that hold from the start, of which each call draws. */
  happening(): readonly ActiveEvent[] {
    return this.active().filter(({ source }) => !this.#standing.has(source));
  }

  /** The latest events, oldest first. */
  history(): readonly EventHistory[] {
    return this.#history;
  }

  /** How far what members are told is off the world's clock. */
  get skewMs(): number {
    let total = 0;
    for (const { event } of this.#live.values()) {
      if (event.kind === 'clock_skew') total += Number(event.params.ms);
    }
    return total;
  }

  /** Calls that events made fail. */
  failures(): number {
    const ofEvents = [...this.#live.values()].reduce((sum, { hits }) => sum + hits, 0);
    return this.#failures + ofEvents + this.#hits((kind) => !DELAYS.has(kind));
  }

  /** Calls that events made wait. */
  delays(): number {
    return this.#delays + this.#hits((kind) => DELAYS.has(kind));
  }

  /** Of faults that are set, all or those of some handles. */
  #hits(isMeant: (kind: string) => boolean, handles: ReadonlySet<string> | null = null): number {
    const { files, network } = this.#target;
    return [...(files?.faults.list() ?? []), ...(network?.faults.list() ?? [])]
      .filter(({ spec, handle }) => isMeant(spec.kind) && (handles === null || handles.has(handle)))
      .reduce((sum, { hits }) => sum + hits, 0);
  }

  severs(from: string, to: string): boolean {
    for (const live of this.#live.values()) {
      if (live.partition?.severs(from, to) !== true) continue;
      live.hits += 1;
      return true;
    }
    return false;
  }

  failsUrl(url: string): boolean {
    for (const live of this.#live.values()) {
      if (live.isUrl?.(url) !== true) continue;
      const { probability } = live.event.params as { readonly probability: number };
      if (probability < 1 && !this.#target.random(`event/${live.event.source}`).chance(probability)) continue;
      live.hits += 1;
      return true;
    }
    return false;
  }

  /** Lets something happen now. `forMs`: how long it lasts; null = until it is cleared. @throws BAD_REQUEST, NOT_FOUND, OVERLOAD */
  inject(event: WorldEvent, { forMs, source }: { forMs: number | null; source: string }): ActiveEvent {
    if (this.#live.size >= MAX_ACTIVE) {
      throw new CloveError('OVERLOAD', `${MAX_ACTIVE} events go on in this world already`);
    }
    const effect = begin(event, this.#target);
    const sinceMs = this.#target.clock.monotonicMs();
    this.#last += 1;
    if (!this.#standing.has(source)) this.#injected += 1;
    const active: ActiveEvent = {
      id: `event-${this.#last}`,
      kind: event.kind,
      params: event.params,
      source,
      sinceMs,
      untilMs: effect.isInstant || forMs === null ? null : sinceMs + forMs,
      record: effect.record,
    };
    if (!effect.isInstant) this.#keep(active, effect);
    this.#tell(active, effect.isInstant ? sinceMs : null, effect.touched);
    return active;
  }

  /** Ends one event before its time. False = there is none. */
  clear(id: string): boolean {
    const live = this.#live.get(id);
    if (live === undefined) return false;
    this.#live.delete(id);
    stopTimers(live);
    const handles = new Set([...live.effect.record.files, ...live.effect.record.network]);
    this.#failures += live.hits + this.#hits((kind) => !DELAYS.has(kind), handles);
    this.#delays += this.#hits((kind) => DELAYS.has(kind), handles);
    end(live.effect, this.#target);
    if (live.event.kind === 'clock_skew') this.#target.clock.skew?.(this.skewMs);
    this.#tell(live.event, this.#target.clock.monotonicMs(), []);
    return true;
  }

  clearAll(): number {
    const ids = [...this.#live.keys()];
    for (const id of ids) this.clear(id);
    return ids.length;
  }

  snapshot(): ChaosState {
    return {
      last: this.#last,
      injected: this.#injected,
      failures: this.#failures,
      delays: this.#delays,
      active: this.active(),
      rules: this.#config.rules.map((_, index) => this.#ruleTimers.get(index)?.dueMs ?? null),
    };
  }

  /** Goes on where another stood, in place of start(); faults of files and network are there already. */
  restore(state: ChaosState): void {
    this.#last = state.last;
    this.#injected = state.injected;
    this.#failures = state.failures;
    this.#delays = state.delays;
    for (const event of state.active) {
      // Nobody is in the world yet, so nobody is paused in it.
      this.#keep(
        { ...event, record: { ...event.record, paused: [] } },
        { record: event.record, release: [] },
      );
    }
    for (const [index, dueMs] of state.rules.entries()) {
      if (dueMs !== null && this.#config.rules[index]?.every !== undefined) this.#armRule(index, dueMs);
    }
  }

  close(): void {
    for (const { timer } of this.#ruleTimers.values()) timer.cancel();
    this.#ruleTimers.clear();
    for (const live of this.#live.values()) {
      stopTimers(live);
      end(live.effect, this.#target);
    }
    this.#live.clear();
  }

  #keep(event: ActiveEvent, effect: Pick<Effect, 'record' | 'release'>): void {
    const { between, url } = event.params as { between?: [string[], string[]]; url?: string };
    const live: Live = {
      event,
      effect,
      until: null,
      nextRequest: null,
      partition: event.kind === 'network_partition' && between !== undefined ? new Partition(between) : null,
      isUrl: event.kind === 'http_failure' && url !== undefined ? compileGlob(url) : null,
      hits: 0,
    };
    this.#live.set(event.id, live);
    if (event.kind === 'clock_skew') this.#target.clock.skew?.(this.skewMs);
    const { clock } = this.#target;
    if (event.untilMs !== null) {
      live.until = clock.setTimer(event.untilMs, () => void this.clear(event.id));
    }
    if (event.kind === 'load_spike') this.#load(live);
  }

  /** Requests of others, one after the other at an even pace. */
  #load(live: Live): void {
    const { clock } = this.#target;
    const { url, method, body, per_second } = live.event.params as {
      url: string;
      method: string;
      body?: string;
      per_second: number;
    };
    const tick = (atMs: number) => {
      if (!this.#live.has(live.event.id)) return;
      void this.#target.request({ url, method, body }).catch(() => {});
      arm(atMs + 1000 / per_second);
    };
    const arm = (atMs: number) => {
      live.nextRequest = clock.setTimer(atMs, () => tick(atMs));
    };
    arm(clock.monotonicMs());
  }

  #armRule(index: number, dueMs: number): void {
    const rule = this.#config.rules[index];
    if (rule?.every === undefined) return;
    const { every, probability } = rule;
    const timer = this.#target.clock.setTimer(dueMs, () => {
      this.#ruleTimers.delete(index);
      if (this.#target.random(`rule/${rule.name ?? index}`).chance(probability)) this.#apply(index);
      this.#armRule(index, dueMs + every);
    });
    this.#ruleTimers.set(index, { dueMs, timer });
  }

  #apply(index: number): void {
    const rule = this.#config.rules[index];
    if (rule === undefined) return;
    const source = sourceOf(rule, index);
    try {
      this.inject(parseEvent(rule.event, rule.params), { forMs: rule.for ?? null, source });
    } catch (error) {
      this.#missed(rule.event as EventKind, source, error);
    }
  }

  /** An event that could not act is in the history with the reason, not left out. */
  #missed(kind: EventKind, source: string, error: unknown): void {
    const atMs = this.#target.clock.monotonicMs();
    const reason = `not possible: ${(error as Error).message}`;
    this.#remember({ id: '', kind, source, sinceMs: atMs, endedMs: atMs, touched: [reason] });
  }

  #tell(event: ActiveEvent, endedMs: number | null, touched: readonly string[]): void {
    const { id, kind, source, sinceMs } = event;
    this.#remember({ id, kind, source, sinceMs, endedMs, touched });
  }

  #remember(entry: EventHistory): void {
    this.#history.push(entry);
    if (this.#history.length > KEPT_HISTORY) this.#history.shift();
    this.#onEvent(entry);
  }
}

function sourceOf(rule: ChaosConfig['rules'][number], index: number): string {
  return `rule:${rule.name ?? index}`;
}

function stopTimers(live: Live): void {
  live.until?.cancel();
  live.nextRequest?.cancel();
}
