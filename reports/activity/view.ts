/** What the page needs of one trial's activity: plain JSON with texts that are safe to look at, and no more than that. */
import type { ActivityEntry, ActivityKind, FleetActivity } from '../../bench/types.ts';
import { endOf } from '../charts/agents.ts';
import { type FleetTrial, fleetName } from '../fleets.ts';
import { identifier } from '../text/html.ts';
import { visibleLine } from '../text/visible.ts';

/** One thing that was done; times in ms, `world` as `at` where its agent is in no world. */
export interface ViewEvent {
  readonly at: number;
  readonly world: number;
  readonly lane: number;
  readonly kind: ActivityKind;
  readonly what: string;
  readonly target: string;
  /** Lane of the receiver of a message; −1 = everybody, or nobody known. */
  readonly to: number;
  /** '' = it was allowed and went well. */
  readonly trouble: '' | 'refused' | 'failed';
  /** In words: what came of it, how much it was. */
  readonly note: string;
}

export interface ViewLife {
  readonly lane: number;
  readonly at: number;
  readonly atWorld: number;
  readonly to: number;
  readonly toWorld: number;
  readonly end: string;
}

export interface ViewMark {
  /** −1 = of the whole fleet. */
  readonly lane: number;
  readonly at: number;
  readonly world: number;
  readonly text: string;
}

export interface ActivityView {
  /** "exp_001/clove", safe in an address. */
  readonly id: string;
  readonly name: string;
  /** Names of those who act, in their order. */
  readonly lanes: readonly string[];
  readonly kinds: readonly ActivityKind[];
  /** ms since the epoch in the world at its start; null = nobody was in a world. */
  readonly worldStartMs: number | null;
  /** Not every entry was kept. */
  readonly hasLosses: boolean;
  readonly endMs: number;
  readonly endWorldMs: number;
  readonly events: readonly ViewEvent[];
  readonly lives: readonly ViewLife[];
  readonly marks: readonly ViewMark[];
}

const OUTSIDERS: readonly string[] = ['world', 'oracle'];

export function viewId({ trial }: FleetTrial): string {
  return `${identifier(trial.id)}/${trial.runtime}`;
}

/** null = its activity was not recorded. */
export function activityView(of: FleetTrial): ActivityView | null {
  const { activity } = of.fleet;
  if (activity === undefined) return null;
  const names = lanesOf(of, activity);
  const lane = (name: string) => names.indexOf(name);
  const endMs = of.attempt.usage.wallMs;
  const toWorld = worldClock(activity.entries);
  const inWorld = activity.worldStart !== null;
  const known = activity.entries.filter((entry) => entry.kind !== 'other' || troubleOf(entry) !== '');
  return {
    id: viewId(of),
    name: visibleLine(fleetName(of)),
    lanes: names.map((name) => visibleLine(name).slice(0, 40)),
    kinds: [...new Set(known.map(({ kind }) => kind))],
    worldStartMs: activity.worldStart === null ? null : Date.parse(activity.worldStart),
    hasLosses: activity.losses.length > 0,
    endMs: round(endMs),
    endWorldMs: round(inWorld ? toWorld(endMs) : endMs),
    events: known.map((entry) => ({
      at: round(entry.atMs),
      world: round(inWorld ? (entry.worldMs ?? toWorld(entry.atMs)) : entry.atMs),
      lane: lane(entry.agent),
      kind: entry.kind,
      what: visibleLine(entry.what),
      target: visibleLine(entry.target),
      to: entry.kind === 'message' ? lane(entry.target) : -1,
      trouble: troubleOf(entry),
      note: noteOf(entry),
    })),
    lives: of.fleet.agents.flatMap(({ name, lives }) =>
      lives.map((life) => ({
        lane: lane(name),
        at: round(life.fromMs),
        atWorld: round(inWorld ? toWorld(life.fromMs) : life.fromMs),
        to: round(life.toMs ?? endMs),
        toWorld: round(inWorld ? toWorld(life.toMs ?? endMs) : (life.toMs ?? endMs)),
        end: endOf(life),
      })),
    ),
    marks: of.fleet.marks.slice(0, 400).map(({ atMs, agent, kind, text }) => ({
      lane: agent === null ? -1 : lane(agent),
      at: round(Math.max(0, atMs)),
      world: round(inWorld ? toWorld(Math.max(0, atMs)) : Math.max(0, atMs)),
      text: `${kind}: ${visibleLine(text)}`,
    })),
  };
}

/** The fleet's agents in their order, then whoever else acts, the scenario's own side last. */
function lanesOf({ fleet }: FleetTrial, { entries }: FleetActivity): string[] {
  const agents = fleet.agents.map(({ name }) => name);
  const others = new Set(
    entries.flatMap(({ agent, kind, target }) => (kind === 'message' ? [agent, target] : [agent])),
  );
  const rest = [...others].filter((name) => !agents.includes(name) && name !== '*' && name !== '?');
  const rank = (name: string) => OUTSIDERS.indexOf(name);
  return [...agents, ...rest.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))];
}

export function troubleOf({ kind, outcome }: Pick<ActivityEntry, 'kind' | 'outcome'>): ViewEvent['trouble'] {
  // To look whether something is there is no failure.
  if (outcome === 'NOT_FOUND' && (kind === 'file' || kind === 'state')) return '';
  return outcome === 'OK' ? '' : outcome === 'FORBIDDEN' ? 'refused' : 'failed';
}

function noteOf({ outcome, status, bytes }: ActivityEntry): string {
  return [
    outcome === 'OK' ? '' : outcome === 'FORBIDDEN' ? 'refused' : visibleLine(outcome),
    status === null ? '' : String(status),
    bytes === null ? '' : `${bytes} B`,
  ]
    .filter((part) => part !== '')
    .join(', ');
}

/**
 * What time it is in the world at a moment of the trial: between two calls whose both times are known, in proportion.
 * A clock that skips moves while nobody does anything, so this is as good as it gets for what happens outside of the world.
 */
export function worldClock(
  entries: readonly Pick<ActivityEntry, 'atMs' | 'worldMs'>[],
): (atMs: number) => number {
  const points: (readonly [number, number])[] = [];
  for (const { atMs, worldMs } of entries) {
    const last = points.at(-1);
    if (worldMs !== null && (last === undefined || (atMs > last[0] && worldMs >= last[1])))
      points.push([atMs, worldMs]);
  }
  return (atMs) => {
    const next = points.findIndex(([at]) => at >= atMs);
    const [first] = points;
    const last = points.at(-1);
    if (first === undefined || last === undefined) return atMs;
    if (next === 0) return Math.max(0, first[1] - (first[0] - atMs));
    if (next < 0) return last[1] + (atMs - last[0]);
    const [fromAt, fromWorld] = points[next - 1] as readonly [number, number];
    const [toAt, toWorld] = points[next] as readonly [number, number];
    return fromWorld + ((toWorld - fromWorld) * (atMs - fromAt)) / (toAt - fromAt);
  };
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
