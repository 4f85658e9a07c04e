import { defineService, type ServiceCall } from '../../network/service.ts';
import { bodyOf } from '../body.ts';
import { ACTIONS, type Action, HANDOVER_MS, planShift, SLOT_MS } from './faults.ts';
import type { Readings } from './impairment.ts';
import { partitionedFrom } from './impairment.ts';
import {
  act,
  fileMended,
  liveUntil,
  newPlatform,
  outageAt,
  type PlatformState,
  shiftMs,
} from './platform.ts';
import { COMPONENTS, type ComponentName, componentOf, isComponent, JOURNEYS, OBJECTIVE } from './topology.ts';

/** Means of the last minute. */
const RECENT_STEPS = 6;
const MAX_LINES = 200;
const MAX_TEXT = 2000;
/** Of incidents, of what is said of one, and of what is done: agents may be beside themselves. */
const MAX_INCIDENTS = 500;
const MAX_SAID = 200;
const MAX_ACTIONS = 5000;

interface Incident {
  readonly id: number;
  readonly openedMs: number;
  readonly by: string;
  readonly title: string;
  status: 'triggered' | 'resolved' | 'handed-over';
  closedMs: number | null;
  /** What the responder took it for, each time it said so. */
  readonly diagnoses: {
    readonly atMs: number;
    readonly by: string;
    readonly cause: string;
    readonly component: string;
  }[];
  readonly notes: { readonly atMs: number; readonly by: string; readonly text: string }[];
}

export interface SreState {
  readonly platform: PlatformState;
  readonly incidents: Incident[];
  /** Files of components that the world found changed: what is not as it should be. */
  readonly files: Record<string, true>;
}

export function initialState(seed: number, plan = planShift(seed)): SreState {
  return { platform: newPlatform(seed, plan), incidents: [], files: {} };
}

const refuse = (status: number, error: string) => Response.json({ error }, { status });
const notBegun = () => refuse(409, 'the shift has not begun: POST http://pager.sre/on-call');
type Call = ServiceCall<SreState>;

/** Until now, and how long the shift has lasted; null = it has not begun. */
function clockOf({ state, now }: Call): number | null {
  liveUntil(state.platform, now);
  const atMs = shiftMs(state.platform, now);
  if (atMs !== null) handOver(state, atMs);
  return atMs;
}

/** Whether the logs or the figures of the components cannot be had: monitoring suffers from what it watches. */
function isBlind({ platform }: SreState, what: 'logs' | 'figures', atMs: number): boolean {
  const index = outageAt(platform, atMs);
  const blind = platform.plan.outages[index]?.blind;
  const mendedMs = platform.outages[index]?.repairedMs ?? null;
  return blind?.what === what && atMs < blind.untilMs && (mendedMs === null || atMs < mendedMs);
}
const blinded = () => refuse(503, 'monitoring does not answer');

/** Who is called at the end of an outage's time takes its incidents along. */
function handOver({ incidents, platform }: SreState, atMs: number): void {
  for (const incident of incidents) {
    if (incident.status !== 'triggered') continue;
    // Also of incidents without an outage: what somebody broke by mending is not left broken.
    const into = incident.openedMs % SLOT_MS;
    const endMs = incident.openedMs - into + HANDOVER_MS + (into < HANDOVER_MS ? 0 : SLOT_MS);
    if (atMs < Math.min(endMs, platform.plan.durationMs)) continue;
    incident.status = 'handed-over';
    incident.closedMs = endMs;
  }
}

function recent(readings: readonly Readings[], back = 0): Record<string, number | null> {
  const end = readings.length - back;
  const some = readings.slice(Math.max(0, end - RECENT_STEPS), end);
  const mean = (of: (one: Readings) => number | null, digits = 0) => {
    const values = some.flatMap((one) => of(one) ?? []);
    if (values.length === 0) return null;
    const scale = 10 ** digits;
    return Math.round((values.reduce((sum, value) => sum + value, 0) / values.length) * scale) / scale;
  };
  const last = some.at(-1);
  return {
    rps: mean(({ rps }) => rps, 1),
    error_rate: mean(({ errors }) => errors, 4),
    p95_ms: mean(({ latencyMs }) => latencyMs, 1),
    cpu: mean(({ cpu }) => cpu, 1),
    memory: last?.memory ?? null,
    disk: last?.disk ?? null,
    connections: last?.connections ?? null,
    queue_depth: last?.queueDepth ?? null,
    hit_rate: mean(({ hitRate }) => hitRate, 3),
    retry_rate: mean(({ retries }) => retries, 3),
  };
}

/** One try, from one component to another: what a person would do with a shell. */
function probe(
  call: Call,
  from: ComponentName,
  to: ComponentName,
  atMs: number,
): { ok: boolean; result: string } {
  const { platform } = call.state;
  const outage = platform.plan.outages[outageAt(platform, atMs)];
  const live = platform.outages[outageAt(platform, atMs)];
  const isActing =
    outage !== undefined &&
    live !== undefined &&
    !(live.repairedMs !== null && live.repairedMs <= atMs) &&
    live.reliefUntilMs <= atMs;
  if ((platform.downUntil[to] ?? 0) > atMs) return { ok: false, result: 'connection refused' };
  // The milder a fault, the more often a single try comes through.
  const isLucky = call.random() < (1 - (outage?.severity ?? 1)) * 0.4;
  if (!isActing || isLucky) return { ok: true, result: 'answered' };
  const { kind, component } = outage;
  if (kind === 'dns_failure' && component === to) return { ok: false, result: 'name not found' };
  if (kind === 'network_partition' && component === from && partitionedFrom(from) === to)
    return { ok: false, result: 'connection timed out' };
  if (kind === 'database_down' && to === 'database') return { ok: false, result: 'connection timed out' };
  if (kind === 'expired_certificate' && component === to)
    return { ok: false, result: 'certificate has expired' };
  if (kind === 'credentials_rotated' && component === from && to === 'database')
    return { ok: false, result: 'authentication failed' };
  if (kind === 'clock_skew' && component === to) return { ok: false, result: 'token is not valid yet' };
  return { ok: true, result: 'answered' };
}

export const platformService = defineService({
  state: initialState(1),
  routes: {
    // pager.sre
    'POST /on-call': ({ state, now }) => {
      state.platform.startedMs ??= now;
      return { began: state.platform.startedMs === now, minutes: state.platform.plan.durationMs / 60_000 };
    },
    'GET /on-call': (call) => {
      const atMs = clockOf(call);
      const { durationMs } = call.state.platform.plan;
      return { elapsed_ms: atMs, remaining_ms: atMs === null ? durationMs : Math.max(0, durationMs - atMs) };
    },
    'POST /incidents': async (call) => {
      const atMs = clockOf(call);
      if (atMs === null) return notBegun();
      if (call.state.incidents.length >= MAX_INCIDENTS) return refuse(429, 'too many incidents');
      const { title } = await bodyOf(call);
      const incident: Incident = {
        id: call.state.incidents.length + 1,
        openedMs: atMs,
        by: call.caller.agentName,
        title: String(title ?? '').slice(0, MAX_TEXT),
        status: 'triggered',
        closedMs: null,
        diagnoses: [],
        notes: [],
      };
      call.state.incidents.push(incident);
      return Response.json(incident, { status: 201 });
    },
    'GET /incidents': (call) => {
      clockOf(call);
      return { incidents: call.state.incidents };
    },
    'GET /incidents/:id': (call) => {
      clockOf(call);
      return (
        call.state.incidents.find(({ id }) => String(id) === call.params.id) ??
        refuse(404, 'no such incident')
      );
    },
    'PATCH /incidents/:id': async (call) => {
      const atMs = clockOf(call);
      const incident = call.state.incidents.find(({ id }) => String(id) === call.params.id);
      if (incident === undefined || atMs === null) return refuse(404, 'no such incident');
      if (incident.status !== 'triggered') return refuse(409, `the incident is ${incident.status}`);
      if (incident.diagnoses.length + incident.notes.length >= MAX_SAID)
        return refuse(429, 'too much was said');
      const { status, cause, component, note } = await bodyOf(call);
      const by = call.caller.agentName;
      if (typeof cause === 'string' && typeof component === 'string')
        incident.diagnoses.push({ atMs, by, cause: cause.slice(0, 64), component: component.slice(0, 64) });
      if (typeof note === 'string') incident.notes.push({ atMs, by, text: note.slice(0, MAX_TEXT) });
      if (status === 'resolved') {
        incident.status = 'resolved';
        incident.closedMs = atMs;
      }
      return incident;
    },

    // metrics.sre
    'GET /slo': (call) => {
      if (clockOf(call) === null) return notBegun();
      const { availability, p95, promised } = call.state.platform;
      const mean = (values: readonly number[]) =>
        values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
      return {
        availability: mean(availability.slice(-RECENT_STEPS)),
        p95_ms: mean(p95.slice(-RECENT_STEPS)),
        promised: promised.slice(-RECENT_STEPS).every((kept) => kept === 1),
        objective: { availability: OBJECTIVE.availability, p95_ms: OBJECTIVE.p95Ms },
      };
    },
    'GET /components': (call) => {
      const atMs = clockOf(call);
      if (atMs === null) return notBegun();
      if (isBlind(call.state, 'figures', atMs)) return blinded();
      const { readings } = call.state.platform;
      return {
        components: COMPONENTS.map(({ name }) => ({ name, ...recent(readings[name] ?? []) })),
      };
    },
    'GET /components/:name': (call) => {
      const atMs = clockOf(call);
      if (atMs === null) return notBegun();
      if (isBlind(call.state, 'figures', atMs)) return blinded();
      const { name } = call.params;
      if (!isComponent(name)) return refuse(404, 'no such component');
      const readings = call.state.platform.readings[name] ?? [];
      const minutes = Math.min(30, Math.floor(readings.length / RECENT_STEPS));
      return {
        name,
        minutes: Array.from({ length: minutes }, (_, back) =>
          recent(readings, (minutes - 1 - back) * RECENT_STEPS),
        ),
      };
    },

    // logs.sre
    'GET /logs/:name': (call) => {
      const atMs = clockOf(call);
      if (atMs === null) return notBegun();
      if (isBlind(call.state, 'logs', atMs)) return blinded();
      const { name } = call.params;
      if (!isComponent(name)) return refuse(404, 'no such component');
      const sinceMs = Number(call.query.get('since_ms') ?? 0);
      const lines = (call.state.platform.logs[name] ?? []).filter(({ atMs }) => atMs >= sinceMs);
      return { lines: lines.slice(-MAX_LINES) };
    },

    // cluster.sre
    'GET /topology': () => ({
      components: COMPONENTS.map(({ name, dependsOn }) => ({ name, depends_on: dependsOn })),
      actions: ACTIONS,
    }),
    'GET /changes': (call) => {
      const atMs = clockOf(call);
      if (atMs === null) return notBegun();
      const sinceMs = Number(call.query.get('since_ms') ?? Number.NEGATIVE_INFINITY);
      const { changes } = call.state.platform.plan;
      return { changes: changes.filter((change) => change.atMs <= atMs && change.atMs >= sinceMs) };
    },
    'GET /clocks': (call) => {
      if (clockOf(call) === null) return notBegun();
      const { readings } = call.state.platform;
      return {
        clocks: COMPONENTS.map(({ name }) => ({
          name,
          offset_ms: readings[name]?.at(-1)?.clockOffsetMs ?? 0,
        })),
      };
    },
    'POST /probe': async (call) => {
      const atMs = clockOf(call);
      if (atMs === null) return notBegun();
      const { from, to } = await bodyOf(call);
      if (!isComponent(from) || !isComponent(to)) return refuse(400, 'from and to must be components');
      return { from, to, ...probe(call, from, to, atMs) };
    },
    'POST /components/:name/:action': (call) => {
      const atMs = clockOf(call);
      if (atMs === null) return notBegun();
      const { name, action } = call.params;
      if (!isComponent(name)) return refuse(404, 'no such component');
      if (!ACTIONS.some((one) => one === action)) return refuse(404, `actions are ${ACTIONS.join(', ')}`);
      if (componentOf(name).isExternal) return refuse(403, `${name} is not ours`);
      if (call.state.platform.actions.length >= MAX_ACTIONS) return refuse(429, 'too many actions');
      act(call.state.platform, atMs, {
        component: name,
        action: action as Action,
        by: call.caller.agentName,
      });
      // What it does shows in the figures, not in the answer.
      return Response.json({ component: name, action, accepted: true }, { status: 202 });
    },
    /** Files of a component, as they are found: only the world itself tells. */
    'POST /files/:name/:file': async (call) => {
      const atMs = clockOf(call);
      const { name, file } = call.params;
      if (call.caller.agentId !== 0) return refuse(403, 'not for you');
      if (!isComponent(name)) return refuse(404, 'no such component');
      if (file !== 'config' && file !== 'secret' && file !== 'log') return refuse(404, 'no such file');
      if (atMs !== null) fileMended(call.state.platform, atMs, name, file);
    },

    // shop.sre
    'POST /buy': (call) => visit(call, JOURNEYS.buy),
    'GET /browse': (call) => visit(call, JOURNEYS.browse),
  },
});

/** One customer: fares as the platform does at that moment. */
function visit(call: Call, journey: ComponentName): Response {
  if (clockOf(call) === null) return notBegun();
  const { readings } = call.state.platform;
  const last = readings[journey]?.at(-1);
  const edge = readings.edge?.at(-1);
  const share = last === undefined || edge === undefined ? 0 : 1 - (1 - last.errors) * (1 - edge.ownErrors);
  return call.random() < share ? refuse(503, 'try again later') : Response.json({ ok: true });
}
