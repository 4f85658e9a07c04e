/** The platform as it lives: what every component does in every ten seconds, with what ails it and what was done about it. */
import { type Action, type Outage, rowOf, type ShiftPlan } from './faults.ts';
import { impair, type Readings, readingsOf } from './impairment.ts';
import {
  CENTS_PER_PURCHASE,
  COMPONENTS,
  type ComponentName,
  componentOf,
  JOURNEYS,
  OBJECTIVE,
  PURCHASES_PER_SECOND,
} from './topology.ts';

export const STEP_MS = 10_000;
/** A component that is started anew answers nothing for so long. */
const RESTART_MS = 20_000;
/** Until what was done has effect. */
const EFFECT_MS: Readonly<Partial<Record<Action, number>>> = {
  rollback: 60_000,
  'scale-out': 60_000,
  failover: 30_000,
};
const DEFAULT_EFFECT_MS = 20_000;
const MAX_LOG_LINES = 200;
const MAX_READINGS = 360;
/** Purchases that a database loses when it is killed, or changes over while it works. */
const LOST_BY_RESTART = 25;
const LOST_BY_FAILOVER = 5;
const SHED_SHARE = 0.1;

export interface LogLine {
  /** ms since the shift began. */
  readonly atMs: number;
  readonly level: 'INFO' | 'WARN' | 'ERROR';
  readonly text: string;
}

export interface ActionRecord {
  readonly atMs: number;
  readonly by: string;
  readonly component: ComponentName;
  readonly action: Action | 'file';
  /** Which outage it ended, by its place in the plan; null = none. */
  readonly ended: number | null;
  /** It helped, but not for long. */
  readonly relieved: boolean;
  /** Records that are gone for good. */
  readonly lostRecords: number;
}

interface LiveOutage {
  /** When a repair has effect; null = none was made. ms since the shift began */
  repairedMs: number | null;
  reliefUntilMs: number;
  backlog: number;
}

export interface PlatformState {
  readonly seed: number;
  readonly plan: ShiftPlan;
  /** ms since the epoch; null = the shift has not begun. */
  startedMs: number | null;
  /** Steps that are worked out. */
  steps: number;
  outages: LiveOutage[];
  /** Until when each component answers nothing. ms since the shift began */
  downUntil: Record<string, number>;
  readings: Record<string, Readings[]>;
  logs: Record<string, LogLine[]>;
  shedUntilMs: number;
  /** What the shop did in every step: 1 = as promised. */
  promised: number[];
  availability: number[];
  p95: number[];
  /** Of every outage, and at last of the time between them. */
  lostCents: number[];
  actions: ActionRecord[];
}

export function newPlatform(seed: number, plan: ShiftPlan): PlatformState {
  const empty = <T>() => Object.fromEntries(COMPONENTS.map(({ name }) => [name, [] as T[]]));
  return {
    seed,
    plan,
    startedMs: null,
    steps: 0,
    outages: plan.outages.map(() => ({ repairedMs: null, reliefUntilMs: 0, backlog: 0 })),
    downUntil: {},
    readings: empty<Readings>(),
    logs: empty<LogLine>(),
    shedUntilMs: 0,
    promised: [],
    availability: [],
    p95: [],
    lostCents: new Array<number>(plan.outages.length + 1).fill(0),
    actions: [],
  };
}

/** ms since the shift began; null before. */
export function shiftMs({ startedMs }: PlatformState, nowMs: number): number | null {
  return startedMs === null ? null : nowMs - startedMs;
}

/** Works out all steps until now. What happened does not depend on when somebody looks. */
export function liveUntil(state: PlatformState, nowMs: number): void {
  const elapsed = shiftMs(state, nowMs);
  if (elapsed === null) return;
  const until = Math.min(Math.floor(elapsed / STEP_MS), Math.ceil(state.plan.durationMs / STEP_MS));
  for (; state.steps < until; state.steps += 1) step(state, state.steps);
}

/** Which outage is there at a time; -1 = none. Whoever takes over at its end mends it. */
export function outageAt({ plan }: PlatformState, atMs: number): number {
  return plan.outages.findIndex(({ startMs, endMs }) => startMs <= atMs && atMs < endMs);
}

/** The fault that acts now, if its outage has not been ended. */
function acting(state: PlatformState, atMs: number): { outage: Outage; live: LiveOutage } | null {
  const index = outageAt(state, atMs);
  const outage = state.plan.outages[index];
  const live = state.outages[index];
  if (outage === undefined || live === undefined) return null;
  if (live.repairedMs !== null && atMs >= live.repairedMs) return null;
  if (atMs < live.reliefUntilMs) return null;
  return { outage, live };
}

/** A number in [0, 1) that is the same whatever anybody did. */
export function noise(seed: number, step: number, salt: number): number {
  let x = (seed ^ Math.imul(step + 1, 0x9e3779b1) ^ Math.imul(salt + 1, 0x85ebca6b)) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0;
  return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
}

function step(state: PlatformState, index: number): void {
  const atMs = index * STEP_MS;
  const now = acting(state, atMs);
  const all = new Map<ComponentName, Readings>();
  for (const [place, component] of COMPONENTS.entries()) {
    const own = readingsOf(component, noise(state.seed, index, place));
    all.set(component.name, own);
  }
  const context = { atMs, shed: atMs < state.shedUntilMs };
  const lines = now === null ? [] : impair(all, now.outage, now.live, context);
  for (const { name } of COMPONENTS) {
    const own = all.get(name) as Readings;
    if ((state.downUntil[name] ?? 0) > atMs) {
      own.errors = 1;
      own.rps = 0;
      lines.push({ component: name, level: 'INFO', text: `${name} is starting` });
    }
    const { dependsOn } = componentOf(name);
    for (const other of dependsOn as readonly ComponentName[]) {
      const dependency = all.get(other) as Readings;
      // What a component does without: a catalogue without its cache is slow, not gone.
      const weight = other === 'cache' ? 0.2 : other === 'queue' && name === 'orders' ? 0.7 : 1;
      const passed = dependency.errors * weight;
      own.latencyMs += Math.min(dependency.latencyMs, 2500);
      if (passed > 0.02) {
        own.upstreamErrors = 1 - (1 - own.upstreamErrors) * (1 - passed);
        lines.push({ component: name, level: 'ERROR', text: complaintAbout(other, dependency) });
      }
    }
    own.errors = 1 - (1 - own.errors) * (1 - own.upstreamErrors);
  }
  keep(state, index, all, lines);
}

/** What a caller sees of a component that fails: as little as callers do. */
function complaintAbout(name: ComponentName, { complaint }: Readings): string {
  return complaint === null ? `call to ${name} failed: HTTP 503` : `call to ${name} failed: ${complaint}`;
}

function keep(
  state: PlatformState,
  index: number,
  all: ReadonlyMap<ComponentName, Readings>,
  lines: readonly { component: ComponentName; level: LogLine['level']; text: string }[],
): void {
  const atMs = index * STEP_MS;
  for (const [place, { name }] of COMPONENTS.entries()) {
    const readings = state.readings[name] as Readings[];
    readings.push(all.get(name) as Readings);
    if (readings.length > MAX_READINGS) readings.shift();
    const chatter = noise(state.seed, index, 100 + place);
    if (chatter < 0.03)
      log(state, name, { atMs, level: 'WARN', text: CHATTER[index % CHATTER.length] as string });
  }
  for (const { component, level, text } of lines) {
    const last = state.logs[component]?.at(-1);
    // Once a minute is enough for the same.
    const isNew = !state.logs[component]?.some((line) => line.text === text && line.atMs > atMs - 60_000);
    if (last === undefined || isNew) log(state, component, { atMs, level, text });
  }
  const buy = all.get(JOURNEYS.buy) as Readings;
  const browse = all.get(JOURNEYS.browse) as Readings;
  const edge = all.get('edge') as Readings;
  const shed = atMs < state.shedUntilMs ? SHED_SHARE : 0;
  const served = (journey: Readings) => (1 - journey.errors) * (1 - edge.ownErrors) * (1 - shed);
  const availability = Math.min(served(buy), served(browse)) / (1 - shed);
  const p95 = Math.max(buy.latencyMs, browse.latencyMs) + edge.ownLatencyMs;
  const isPromised = availability >= OBJECTIVE.availability && p95 <= OBJECTIVE.p95Ms;
  state.availability.push(availability);
  state.p95.push(Math.round(p95));
  state.promised.push(isPromised ? 1 : 0);
  const lost = (1 - served(buy)) * PURCHASES_PER_SECOND * (STEP_MS / 1000) * CENTS_PER_PURCHASE;
  const outage = outageAt(state, atMs);
  const slot = outage < 0 ? state.lostCents.length - 1 : outage;
  state.lostCents[slot] = Math.round((state.lostCents[slot] ?? 0) + lost);
}

const CHATTER = [
  'slow query: 412 ms',
  'certificate expires in 27 days',
  'retrying after connection reset',
  'configuration reloaded',
  'garbage collection took 180 ms',
  'deprecated field "cust_no" in request',
  'call to database failed: connection timed out, was answered at the second try',
  "TypeError: cannot read properties of undefined (reading 'banner'), page goes without",
  'heap is at 71 %, collection begins',
];

function log(state: PlatformState, name: ComponentName, line: LogLine): void {
  const lines = state.logs[name] as LogLine[];
  lines.push(line);
  if (lines.length > MAX_LOG_LINES) lines.shift();
}

/** Somebody does something to a component. */
export function act(
  state: PlatformState,
  atMs: number,
  what: { readonly component: ComponentName; readonly action: Action; readonly by: string },
): ActionRecord {
  const { component, action, by } = what;
  const index = outageAt(state, atMs);
  const outage = state.plan.outages[index];
  const live = state.outages[index];
  const isOver = live === undefined || (live.repairedMs !== null && live.repairedMs <= atMs);
  let ended: number | null = null;
  let relieved = false;
  let lostRecords = 0;
  if (outage !== undefined && live !== undefined && !isOver) {
    const { repair, alsoEndedBy, reliefMs } = rowOf(outage.kind);
    const isRepair =
      'action' in repair &&
      repair.action === action &&
      (repair.on === 'itself' ? outage.component : repair.on) === component;
    if (isRepair || (alsoEndedBy?.action === action && alsoEndedBy.on === component)) {
      live.repairedMs ??= atMs + (EFFECT_MS[action] ?? DEFAULT_EFFECT_MS);
      ended = index;
    } else if (action === 'restart' && reliefMs !== undefined && component === outage.component) {
      live.reliefUntilMs = atMs + reliefMs;
      relieved = true;
    }
  }
  if (action === 'restart') state.downUntil[component] = atMs + RESTART_MS;
  if (action === 'rollback' && ended === null) state.downUntil[component] = atMs + RESTART_MS;
  if (component === 'database' && action === 'restart') lostRecords = LOST_BY_RESTART;
  if (component === 'database' && action === 'failover') {
    const isDown = outage?.kind === 'database_down' && !isOver;
    if (!isDown) {
      lostRecords = LOST_BY_FAILOVER;
      state.downUntil.database = atMs + RESTART_MS;
    }
  }
  if (component === 'queue' && action === 'purge')
    lostRecords = Math.max(1, state.readings.queue?.at(-1)?.queueDepth ?? 0);
  // A cache that is started anew is cold: the outage goes on, or is one only now.
  if (action === 'shed-load') {
    const until = outage === undefined ? atMs + 10 * 60_000 : outage.endMs;
    state.shedUntilMs = Math.max(state.shedUntilMs, until);
  }
  const record = { atMs, by, component, action, ended, relieved, lostRecords };
  state.actions.push(record);
  return record;
}

/** A file of a component is as it should be again: ends an outage that came of it. */
export function fileMended(
  state: PlatformState,
  atMs: number,
  component: ComponentName,
  file: 'config' | 'secret' | 'log',
): ActionRecord | null {
  const index = outageAt(state, atMs);
  const outage = state.plan.outages[index];
  const live = state.outages[index];
  if (outage === undefined || live === undefined || live.repairedMs !== null) return null;
  const { repair } = rowOf(outage.kind);
  if (!('file' in repair) || repair.file !== file || outage.component !== component) return null;
  live.repairedMs = atMs + DEFAULT_EFFECT_MS;
  const record: ActionRecord = {
    atMs,
    by: 'file',
    component,
    action: 'file',
    ended: index,
    relieved: false,
    lostRecords: 0,
  };
  state.actions.push(record);
  return record;
}
