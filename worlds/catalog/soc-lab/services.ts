import { defineService } from '../../network/service.ts';

/** Machines of the lab, with how much hangs on them. */
export const HOSTS = [
  { name: 'auth', role: 'logins', criticality: 2 },
  { name: 'web', role: 'shop front', criticality: 1 },
  { name: 'database', role: 'orders and customers', criticality: 3 },
  { name: 'firewall', role: 'border', criticality: 2 },
] as const;

const IPV4 = /^\d{1,3}(\.\d{1,3}){3}$/;
const refuse = (status: number, error: string) => Response.json({ error }, { status });

interface FirewallRule {
  readonly id: number;
  readonly kind: 'block' | 'watch';
  readonly address: string;
  readonly reason: string;
  readonly by: string;
  /** ms since the epoch, in world time. */
  readonly at: number;
  readonly expiresAt: number | null;
}

/** Blocks and watches addresses; rules end by themselves. */
export const firewall = defineService({
  state: { rules: [] as FirewallRule[], ddosProtection: false, nextId: 1 },
  routes: {
    'GET /rules': ({ state, now }) =>
      state.rules.filter(({ expiresAt }) => expiresAt === null || expiresAt > now),
    'GET /history': ({ state }) => state.rules,
    'POST /rules': async ({ state, json, caller, now }) => {
      const { kind, address, reason, minutes } = await json<Record<string, unknown>>();
      if (kind !== 'block' && kind !== 'watch') return refuse(400, 'kind must be block or watch');
      if (typeof address !== 'string' || !IPV4.test(address)) return refuse(400, 'no IPv4 address');
      const standing = state.rules.find(
        (rule) =>
          rule.kind === kind && rule.address === address && (rule.expiresAt === null || rule.expiresAt > now),
      );
      if (standing !== undefined) return standing;
      const rule: FirewallRule = {
        id: state.nextId++,
        kind,
        address,
        reason: String(reason ?? ''),
        by: caller.agentName,
        at: now,
        expiresAt: typeof minutes === 'number' && minutes > 0 ? now + minutes * 60_000 : null,
      };
      state.rules.push(rule);
      return Response.json(rule, { status: 201 });
    },
    'DELETE /rules/:id': ({ state, params }) => {
      const at = state.rules.findIndex(({ id }) => String(id) === params.id);
      if (at < 0) return refuse(404, 'no such rule');
      state.rules.splice(at, 1);
    },
    'PUT /ddos-protection': async ({ state, json }) => {
      state.ddosProtection = (await json<{ on?: unknown }>()).on === true;
      return { on: state.ddosProtection };
    },
    'GET /ddos-protection': ({ state }) => ({ on: state.ddosProtection }),
  },
});

/** Accounts and their sessions. */
export const identity = defineService({
  state: {
    users: Object.fromEntries(
      [
        ['alice', false],
        ['bob', false],
        ['deploy', true],
        ['backup', true],
        ['admin', true],
        ['root', true],
        ['administrator', true],
      ].map(([name, privileged]) => [name, { privileged, sessions: 1, revokedAt: null as number | null }]),
    ),
    revocations: [] as { user: string; by: string; at: number }[],
  },
  routes: {
    'GET /users/:name': ({ state, params }) => {
      const user = Object.hasOwn(state.users, params.name ?? '') ? state.users[params.name ?? ''] : undefined;
      return user === undefined ? refuse(404, 'no such user') : { name: params.name, ...user };
    },
    'POST /users/:name/revoke': ({ state, params, caller, now }) => {
      const name = params.name ?? '';
      const user = Object.hasOwn(state.users, name) ? state.users[name] : undefined;
      if (user === undefined) return refuse(404, 'no such user');
      if (user.revokedAt === null) {
        user.sessions = 0;
        user.revokedAt = now;
        state.revocations.push({ user: name, by: caller.agentName, at: now });
      }
      return { name, ...user };
    },
    'GET /revocations': ({ state }) => state.revocations,
  },
});

/** What the world knows of addresses. The five networks are known to be bad, our own are not, and of the rest little is known. */
export const SUSPICIOUS_PREFIXES = [
  '185.220.101',
  '45.155.205',
  '194.26.192',
  '89.248.167',
  '141.98.10',
] as const;

export const intelligence = defineService({
  state: { lookups: 0 },
  routes: {
    'GET /ip/:address': ({ state, params }) => {
      const address = params.address ?? '';
      if (!IPV4.test(address)) return refuse(400, 'no IPv4 address');
      state.lookups += 1;
      return { address, score: scoreOf(address), source: 'lab' };
    },
  },
});

/** 75–99 for the bad networks, 0 for our own, else below 30: a fixed function of the address, the same in every run. */
export function scoreOf(address: string): number {
  let hash = 2166136261;
  for (const character of address) hash = Math.imul(hash ^ character.charCodeAt(0), 16777619) >>> 0;
  if (SUSPICIOUS_PREFIXES.some((prefix) => address.startsWith(`${prefix}.`))) return 75 + (hash % 25);
  if (/^(10\.|127\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.)/.test(address)) return 0;
  return hash % 30;
}

interface Alert {
  readonly id: number;
  readonly incident: string;
  readonly severity: string;
  readonly title: string;
  readonly by: string;
  readonly at: number;
}

/** Where alerts end up. */
export const siem = defineService({
  state: { alerts: [] as Alert[] },
  routes: {
    'GET /alerts': ({ state }) => state.alerts,
    'POST /alerts': async ({ state, json, caller, now }) => {
      const { incident, severity, title } = await json<Record<string, unknown>>();
      if (typeof incident !== 'string' || typeof severity !== 'string')
        return refuse(400, 'incident and severity are needed');
      const alert: Alert = {
        id: state.alerts.length + 1,
        incident,
        severity,
        title: String(title ?? ''),
        by: caller.agentName,
        at: now,
      };
      state.alerts.push(alert);
      return Response.json(alert, { status: 201 });
    },
  },
});

/** The machines: how they are, and what can be done with them. */
export const hosts = defineService({
  state: {
    hosts: HOSTS.map((host) => ({ ...host, isolated: false, disk: 41, cpu: 20, memory: 55, errorRate: 0.4 })),
    forensics: [] as { host: string; incident: string; by: string; at: number }[],
  },
  routes: {
    'GET /hosts': ({ state }) => state.hosts,
    'GET /hosts/:name': ({ state, params }) =>
      state.hosts.find(({ name }) => name === params.name) ?? refuse(404, 'no such host'),
    'POST /hosts/:name/isolate': ({ state, params }) => {
      const host = state.hosts.find(({ name }) => name === params.name);
      if (host === undefined) return refuse(404, 'no such host');
      host.isolated = true;
      return host;
    },
    'POST /hosts/:name/cleanup': ({ state, params }) => {
      const host = state.hosts.find(({ name }) => name === params.name);
      if (host === undefined) return refuse(404, 'no such host');
      host.disk = Math.min(host.disk, 40);
      return host;
    },
    'POST /hosts/:name/forensics': async ({ state, params, json, caller, now }) => {
      if (!state.hosts.some(({ name }) => name === params.name)) return refuse(404, 'no such host');
      const { incident } = await json<{ incident?: unknown }>();
      const taken = {
        host: params.name ?? '',
        incident: String(incident ?? ''),
        by: caller.agentName,
        at: now,
      };
      state.forensics.push(taken);
      return Response.json(taken, { status: 201 });
    },
    'GET /forensics': ({ state }) => state.forensics,
    /** The disk of a host fills up; for chaos and tests. */
    'PUT /hosts/:name/disk': async ({ state, params, json }) => {
      const host = state.hosts.find(({ name }) => name === params.name);
      const { percent } = await json<{ percent?: unknown }>();
      if (host === undefined || typeof percent !== 'number')
        return refuse(400, 'host and percent are needed');
      host.disk = percent;
      return host;
    },
  },
});
