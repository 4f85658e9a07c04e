/** What each fault does to the figures and logs of the components, in one step of ten seconds. */
import type { Outage } from './faults.ts';
import { COMPONENTS, type Component, type ComponentName } from './topology.ts';

export interface Readings {
  rps: number;
  /** Share of requests, with those that fail because of others. */
  errors: number;
  ownErrors: number;
  upstreamErrors: number;
  /** 95th percentile, with what it waits for. */
  latencyMs: number;
  ownLatencyMs: number;
  cpu: number;
  memory: number;
  disk: number;
  connections: number | null;
  queueDepth: number | null;
  hitRate: number | null;
  /** Share of requests that are repetitions. */
  retries: number;
  /** Against the time of the others. */
  clockOffsetMs: number;
  /** What callers see when it fails; null = only that it does. */
  complaint: string | null;
}

export interface FaultLine {
  readonly component: ComponentName;
  readonly level: 'INFO' | 'WARN' | 'ERROR';
  readonly text: string;
}

/** As it is when all is well. `noise` in [0, 1). */
export function readingsOf({ name, baseMs, baseRps, pool }: Component, noise: number): Readings {
  const round = (value: number) => Math.round(value * 10) / 10;
  const errors = 0.0005 + 0.002 * noise;
  return {
    rps: round(baseRps * (0.9 + 0.2 * noise)),
    errors,
    ownErrors: errors,
    upstreamErrors: 0,
    latencyMs: round(baseMs * (0.9 + 0.3 * noise)),
    ownLatencyMs: round(baseMs * (0.9 + 0.3 * noise)),
    cpu: round(28 + 14 * noise),
    memory: round(48 + 8 * noise),
    disk: round(37 + 3 * noise),
    connections: pool === null ? null : Math.round(pool * (0.2 + 0.15 * noise)),
    queueDepth: name === 'queue' ? Math.round(4 + 12 * noise) : null,
    hitRate: name === 'cache' ? 0.93 + 0.03 * noise : null,
    retries: 0.01 + 0.01 * noise,
    clockOffsetMs: Math.round(8 * noise),
    complaint: null,
  };
}

/** One dependency that a component cannot reach while others can. */
const PARTITIONED: Readonly<Partial<Record<ComponentName, ComponentName>>> = {
  orders: 'database',
  catalogue: 'database',
  payments: 'acquirer',
};

/** Who asks for a name, or a component. */
function callersOf(name: ComponentName): ComponentName[] {
  return COMPONENTS.filter(({ dependsOn }) => (dependsOn as readonly string[]).includes(name)).map(
    (one) => one.name,
  );
}

export function partitionedFrom(component: ComponentName): ComponentName {
  return PARTITIONED[component] ?? 'database';
}

/** Changes the readings of a step, before what fails is passed on to those that depend on it. */
export function impair(
  all: ReadonlyMap<ComponentName, Readings>,
  { kind, component, severity, startMs }: Outage,
  live: { backlog: number },
  { atMs, shed }: { readonly atMs: number; readonly shed: boolean },
): FaultLine[] {
  const of = (name: ComponentName) => all.get(name) as Readings;
  const it = of(component);
  const lines: FaultLine[] = [];
  const say = (text: string, who = component, level: FaultLine['level'] = 'ERROR') =>
    lines.push({ component: who, level, text });
  const fail = (who: Readings, errors: number, complaint: string | null = null) => {
    who.errors = who.ownErrors = Math.max(who.ownErrors, errors);
    who.complaint = complaint;
  };
  const slow = (who: Readings, ms: number) => {
    who.latencyMs += ms;
    who.ownLatencyMs += ms;
  };
  const sinceMs = atMs - startMs;
  switch (kind) {
    case 'database_down':
      fail(it, 1, 'connection timed out');
      slow(it, 2000);
      Object.assign(it, { rps: 0, cpu: 2 });
      break;
    case 'pool_exhausted':
      fail(it, 0.25 + 0.4 * severity);
      slow(it, 900 + 900 * severity);
      it.connections = component === 'orders' || component === 'catalogue' ? 40 : it.connections;
      say('timed out after 1000 ms waiting for a connection from the pool');
      break;
    case 'memory_leak': {
      it.memory = Math.min(99, 62 + (sinceMs / 60_000) * 12);
      fail(it, 0.06 + 0.4 * severity * Math.min(1, sinceMs / 120_000));
      slow(it, 300);
      say('allocation of 4.2 MB was slow: heap is nearly full', component, 'WARN');
      if (sinceMs % 180_000 > 140_000) say('process was killed: out of memory');
      break;
    }
    case 'disk_full':
      it.disk = 100;
      fail(it, 0.4 + 0.5 * severity);
      say('write failed: no space left on device');
      break;
    case 'bad_deploy':
      fail(it, 0.25 + 0.5 * severity);
      say("TypeError: cannot read properties of undefined (reading 'total')");
      break;
    case 'bad_config':
      fail(it, 0.4 + 0.5 * severity);
      say('deadline of 5 ms exceeded');
      break;
    case 'expired_certificate':
      fail(it, 1, 'TLS: certificate has expired');
      if (component === 'edge') say('clients end the handshake: alert certificate_expired', 'edge', 'WARN');
      break;
    case 'dns_failure':
      for (const caller of callersOf(component)) {
        fail(of(caller), component === 'cache' ? 0.3 : 0.95);
        if (component === 'cache') slow(of(caller), 900);
        say(`getaddrinfo ENOTFOUND ${component}.internal`, caller);
      }
      break;
    case 'network_partition':
      fail(it, 0.95);
      slow(it, 2000);
      say(`call to ${partitionedFrom(component)} failed: connection timed out`);
      break;
    case 'cache_stampede': {
      it.hitRate = 0.08;
      const database = of('database');
      database.cpu = 97;
      slow(database, 500 + 500 * severity);
      slow(of('catalogue'), 900);
      fail(of('catalogue'), 0.15 + 0.3 * severity);
      say('query queue is long: 480 waiting', 'database', 'WARN');
      say('read through: cache miss', 'catalogue', 'WARN');
      break;
    }
    case 'queue_backlog':
      live.backlog += Math.round(90 + 120 * severity);
      it.queueDepth = live.backlog;
      of('fulfilment').cpu = 4;
      of('fulfilment').rps = 0;
      say('message 7f3a: handler threw, will be delivered again', 'fulfilment');
      if (live.backlog > 500) {
        fail(it, 0.3 + 0.4 * severity, 'publish refused: too many messages');
        say('above the high-water mark, publishers are held back', 'queue', 'WARN');
      }
      break;
    case 'dependency_errors':
      fail(it, 0.4 + 0.5 * severity, 'HTTP 502 from the acquirer');
      break;
    case 'clock_skew':
      it.clockOffsetMs = 240_000 + Math.round(300_000 * severity);
      fail(it, 0.9, 'HTTP 401 token is not valid yet');
      say('token of a caller refused: issued in the future', component, 'WARN');
      break;
    case 'retry_storm':
      if (shed) break;
      it.rps *= 4;
      it.retries = 0.7;
      for (const name of ['checkout', 'catalogue'] as const) {
        const busy = of(name);
        busy.rps *= 4;
        busy.cpu = 99;
        busy.retries = 0.7;
        fail(busy, 0.3 + 0.4 * severity, 'HTTP 503 overloaded');
        slow(busy, 1200);
        say('request queue is full, request refused', name);
      }
      break;
    case 'credentials_rotated':
      fail(it, 1);
      say('call to database failed: password authentication failed for user "shop"');
      break;
    case 'traffic_surge':
      it.rps *= 2.6;
      of('edge').rps *= 1.8;
      it.cpu = 99;
      fail(it, 0.2 + 0.4 * severity, 'HTTP 503 overloaded');
      slow(it, 1000);
      say('request queue is full, request refused');
      break;
  }
  return lines;
}
