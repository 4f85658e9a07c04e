import { hash } from 'node:crypto';
import { defineService } from '../../network/service.ts';
import { SUSPICIOUS_PREFIXES } from './attacks.ts';

interface SiemEvent {
  id: number;
  time: string;
  system: string;
  type: string;
  severity: string;
  source_ip: string;
  port: number | null;
  user: string | null;
}
interface Alert {
  id: number;
  time: string;
  title: string;
  severity: string;
  event_ids: number[];
  status: 'open' | 'triaged' | 'closed';
  by: string;
  notes: string[];
}
interface Rule {
  id: number;
  ip: string;
  action: 'block' | 'monitor' | 'rate_limit';
  created_at: string;
  expires_ms: number | null;
  by: string;
}
interface User {
  name: string;
  role: string;
  locked: boolean;
  mfa: boolean;
  sessions: number;
}
interface Host {
  name: string;
  address: string;
  role: string;
  isolated: boolean;
}

const MAX_EVENTS = 5000;
const PAGE = 100;
const person = (name: string, role: string, mfa = true): User => ({
  name,
  role,
  mfa,
  locked: false,
  sessions: 1,
});
const host = (name: string, address: string, role: string): Host => ({
  name,
  address,
  role,
  isolated: false,
});

/**
 * One memory behind five names, so that they agree: what the firewall blocks the log management sees no more of.
 * siem.corp: /events /alerts /stats · firewall.corp: /rules · idp.corp: /users · intel.corp: /ip/:ip · edr.corp: /hosts
 */
export default defineService({
  state: {
    next: 1,
    events: [] as SiemEvent[],
    dropped: 0,
    blocked: 0,
    alerts: [] as Alert[],
    rules: [] as Rule[],
    actions: [] as { time: string; by: string; action: string; target: string }[],
    users: [
      person('alice', 'developer'),
      person('bob', 'support'),
      person('carol', 'finance'),
      person('deploy', 'service', false),
      person('backup', 'service', false),
      person('admin', 'administrator'),
    ],
    hosts: [
      host('web-1', '10.10.0.11', 'web server'),
      host('web-2', '10.10.0.12', 'web server'),
      host('db-1', '10.10.1.21', 'database'),
      host('fw-1', '10.10.0.1', 'firewall'),
      host('auth-1', '10.10.2.31', 'identity provider'),
    ],
  },
  routes: {
    // What systems send; agents of the lab only read.
    'POST /events': async ({ state, json, caller, now }) => {
      if (caller.agentId !== 0) return refusal(403, 'events come from systems');
      const event = await json<Omit<SiemEvent, 'id' | 'time'>>();
      if (rulesAt(state.rules, now).some((rule) => rule.action === 'block' && rule.ip === event.source_ip)) {
        state.blocked += 1;
        return { stored: false, reason: 'blocked at the firewall' };
      }
      const stored = {
        ...event,
        id: state.next++,
        time: iso(now),
        port: event.port ?? null,
        user: event.user ?? null,
      };
      state.events.push(stored);
      if (state.events.length > MAX_EVENTS) {
        state.events.shift();
        state.dropped += 1;
      }
      return { stored: true, id: stored.id };
    },
    'GET /events': ({ state, query }) => {
      const after = Number(query.get('after') ?? 0);
      const limit = Math.min(PAGE, Number(query.get('limit') ?? PAGE) || PAGE);
      const isMeant = (event: SiemEvent) =>
        event.id > after &&
        ['system', 'type', 'severity', 'source_ip', 'user'].every(
          (name) => query.get(name) === null || String(event[name as keyof SiemEvent]) === query.get(name),
        );
      const found = state.events.filter(isMeant);
      return { events: found.slice(0, limit), more: found.length > limit };
    },
    'GET /stats': ({ state }) => ({
      events: state.events.length,
      blocked: state.blocked,
      dropped: state.dropped,
      by_type: count(state.events.map(({ type }) => type)),
      by_source: count(state.events.map(({ source_ip }) => source_ip)),
      alerts: count(state.alerts.map(({ status }) => status)),
    }),
    'GET /alerts': ({ state, query }) => ({
      alerts: state.alerts.filter(
        ({ status }) => query.get('status') === null || status === query.get('status'),
      ),
    }),
    'POST /alerts': async ({ state, json, caller, now }) => {
      const { title, severity = 'medium', event_ids = [] } = await json<Partial<Alert>>();
      if (typeof title !== 'string' || title === '') return refusal(400, 'title is missing');
      const alert: Alert = {
        id: state.next++,
        time: iso(now),
        title: title.slice(0, 200),
        severity,
        event_ids: event_ids.slice(0, 1000),
        status: 'open',
        by: caller.agentName,
        notes: [],
      };
      state.alerts.push(alert);
      return Response.json(alert, { status: 201 });
    },
    'PATCH /alerts/:id': async ({ state, params, json }) => {
      const alert = state.alerts.find(({ id }) => String(id) === params.id);
      if (alert === undefined) return refusal(404, 'no such alert');
      const { status, severity, note } = await json<Partial<Alert> & { note?: string }>();
      if (status !== undefined) alert.status = status;
      if (severity !== undefined) alert.severity = severity;
      if (note !== undefined) alert.notes.push(note.slice(0, 1000));
      return alert;
    },
    'GET /rules': ({ state, now }) => ({ rules: rulesAt(state.rules, now) }),
    'POST /rules': async ({ state, json, caller, now }) => {
      const {
        ip,
        action = 'block',
        minutes,
      } = await json<{ ip?: string; action?: Rule['action']; minutes?: number }>();
      if (!isAddress(ip)) return refusal(400, 'ip must be an IPv4 address');
      if (/^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|127\.)/.test(ip))
        return refusal(422, 'an address of ours');
      const rule: Rule = {
        id: state.next++,
        ip,
        action,
        created_at: iso(now),
        expires_ms: minutes === undefined ? null : now + minutes * 60_000,
        by: caller.agentName,
      };
      state.rules.push(rule);
      state.actions.push({ time: iso(now), by: caller.agentName, action, target: ip });
      return Response.json(rule, { status: 201 });
    },
    'DELETE /rules/:id': ({ state, params }) => {
      const at = state.rules.findIndex(({ id }) => String(id) === params.id);
      if (at < 0) return refusal(404, 'no such rule');
      state.rules.splice(at, 1);
      return undefined;
    },
    'GET /users': ({ state }) => ({ users: state.users }),
    'GET /users/:name': ({ state, params }) =>
      state.users.find(({ name }) => name === params.name) ?? refusal(404, 'no such user'),
    'POST /users/:name/:action': ({ state, params, caller, now }) => {
      const user = state.users.find(({ name }) => name === params.name);
      if (user === undefined) return refusal(404, 'no such user');
      if (params.action === 'lock') user.locked = true;
      else if (params.action === 'unlock') user.locked = false;
      else if (params.action === 'revoke') user.sessions = 0;
      else return refusal(404, 'lock, unlock or revoke');
      state.actions.push({ time: iso(now), by: caller.agentName, action: params.action, target: user.name });
      return user;
    },
    'GET /ip/:ip': ({ params }) =>
      isAddress(params.ip) ? reputation(params.ip) : refusal(400, 'no IPv4 address'),
    'GET /hosts': ({ state }) => ({ hosts: state.hosts }),
    'POST /hosts/:name/:action': ({ state, params, caller, now }) => {
      const found = state.hosts.find(({ name }) => name === params.name);
      if (found === undefined) return refusal(404, 'no such host');
      if (params.action !== 'isolate' && params.action !== 'release')
        return refusal(404, 'isolate or release');
      found.isolated = params.action === 'isolate';
      state.actions.push({ time: iso(now), by: caller.agentName, action: params.action, target: found.name });
      return found;
    },
    'GET /actions': ({ state }) => ({ actions: state.actions }),
  },
});

function refusal(status: number, error: string): Response {
  return Response.json({ error }, { status });
}

function iso(now: number): string {
  return new Date(now).toISOString();
}

function rulesAt(rules: readonly Rule[], now: number): Rule[] {
  return rules.filter(({ expires_ms }) => expires_ms === null || expires_ms > now);
}

function isAddress(ip: string | undefined): ip is string {
  return /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/.test(ip ?? '');
}

function count(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/** The same for everybody who asks: of the known networks 75 to 99, of ours 0, of others below 30. */
function reputation(ip: string) {
  const isKnown = SUSPICIOUS_PREFIXES.some((prefix) => ip.startsWith(`${prefix}.`));
  const isOurs = /^(10\.|192\.168\.|127\.)/.test(ip);
  const draw = Number.parseInt(hash('sha256', ip, 'hex').slice(0, 8), 16) / 2 ** 32;
  const score = isOurs ? 0 : isKnown ? 75 + Math.floor(draw * 25) : Math.floor(draw * 30);
  return { ip, score, malicious: score >= 50, tags: isKnown ? ['scanner', 'botnet'] : [] };
}
