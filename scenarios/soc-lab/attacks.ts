import { SUSPICIOUS_PREFIXES } from '../../worlds/catalog/soc-lab/services.ts';
import type { RandomStream } from '../../worlds/index.ts';
import type { IncidentType } from './severity/incident.ts';

/** One line that a system of the lab writes. */
export interface LabEvent {
  /** ms after the start of the shift, in world time. */
  readonly atMs: number;
  readonly system: string;
  readonly type: IncidentType;
  readonly sourceIp: string | null;
  readonly port: number | null;
  readonly user: string | null;
  /** Which attack it is a part of; null = everyday noise. Never in the log: it is the ground truth. */
  readonly attack: string | null;
}

interface Template {
  readonly type: IncidentType;
  readonly system: string;
  readonly user?: string;
  readonly port?: number;
}

interface AttackKind {
  readonly templates: readonly Template[];
  /** Each template comes this often. */
  readonly burst: number;
  readonly intervalMs: number;
  readonly jitterMs: number;
}

/** The attack scenarios of the lab: templates in order, each repeated `burst` times, at intervals with jitter. */
export const ATTACK_KINDS = {
  brute_force: {
    templates: [
      { type: 'FAILED_LOGIN', system: 'auth', user: 'admin' },
      { type: 'FAILED_LOGIN', system: 'auth', user: 'root' },
      { type: 'FAILED_LOGIN', system: 'auth', user: 'administrator' },
      { type: 'INVALID_USER', system: 'auth', user: 'test' },
      { type: 'INVALID_USER', system: 'auth', user: 'guest' },
      { type: 'BRUTE_FORCE', system: 'auth', user: 'admin' },
    ],
    burst: 5,
    intervalMs: 200,
    jitterMs: 50,
  },
  sql_injection: {
    templates: [
      { type: 'HTTP_ERROR', system: 'web', port: 443 },
      { type: 'SLOW_QUERY', system: 'database', port: 5432 },
      { type: 'SQL_INJECTION', system: 'web', port: 443 },
      { type: 'SQL_INJECTION', system: 'database', port: 5432 },
    ],
    burst: 2,
    intervalMs: 500,
    jitterMs: 100,
  },
  port_scan: {
    templates: [
      { type: 'CONN_TIMEOUT', system: 'firewall', port: 21 },
      { type: 'CONN_TIMEOUT', system: 'firewall', port: 23 },
      { type: 'CONN_TIMEOUT', system: 'firewall', port: 25 },
      { type: 'FW_DENY', system: 'firewall', port: 445 },
      { type: 'FW_DENY', system: 'firewall', port: 3389 },
      { type: 'PORT_SCAN', system: 'firewall' },
    ],
    burst: 3,
    intervalMs: 100,
    jitterMs: 20,
  },
  data_exfil: {
    templates: [
      { type: 'UNAUTH_ACCESS', system: 'database', user: 'backup', port: 5432 },
      { type: 'SLOW_QUERY', system: 'database', port: 5432 },
      { type: 'BW_SPIKE', system: 'firewall' },
      { type: 'DATA_EXFIL', system: 'database', user: 'backup' },
      { type: 'C2_BEACON', system: 'firewall' },
    ],
    burst: 1,
    intervalMs: 2000,
    jitterMs: 500,
  },
  privilege_escalation: {
    templates: [
      { type: 'FAILED_LOGIN', system: 'auth', user: 'deploy' },
      { type: 'PATH_TRAVERSAL', system: 'web', port: 443 },
      { type: 'PRIV_ESC', system: 'auth', user: 'deploy' },
    ],
    burst: 1,
    intervalMs: 1000,
    jitterMs: 200,
  },
  ddos: {
    templates: [
      { type: 'RATE_LIMIT', system: 'web', port: 443 },
      { type: 'RATE_LIMIT', system: 'web', port: 443 },
      { type: 'CONN_TIMEOUT', system: 'web', port: 443 },
      { type: 'BW_SPIKE', system: 'firewall' },
      { type: 'POOL_EXHAUSTED', system: 'database' },
      { type: 'DDOS_DETECT', system: 'firewall' },
    ],
    burst: 10,
    intervalMs: 50,
    jitterMs: 10,
  },
} as const satisfies Readonly<Record<string, AttackKind>>;

export type AttackName = keyof typeof ATTACK_KINDS;

/** One attack that happened: who, and what an analyst should have found. */
export interface Attack {
  readonly id: string;
  readonly kind: AttackName;
  readonly startMs: number;
  readonly endMs: number;
  readonly sourceIp: string;
  /** The account that was used; null where none was. */
  readonly user: string | null;
}

export interface Shift {
  /** In the order of time. */
  readonly events: readonly LabEvent[];
  readonly attacks: readonly Attack[];
  /** Addresses of people who only do their work; blocking one is a mistake. */
  readonly innocentIps: readonly string[];
}

export interface ShiftPlan {
  readonly durationMs: number;
  readonly attacks: readonly { readonly kind: AttackName; readonly atMs: number }[];
  /** Everyday events, spread over the shift. */
  readonly noiseEvents: number;
}

const BETWEEN_ATTACKS_MS = 5000;

/** The standard run: 43 events of attacks and 12 of everyday noise, 55 in all. */
export function standardPlan(): ShiftPlan {
  return {
    durationMs: 60_000,
    attacks: [
      { kind: 'brute_force', atMs: 2000 },
      { kind: 'sql_injection', atMs: 2000 + 6000 + BETWEEN_ATTACKS_MS },
      { kind: 'data_exfil', atMs: 2000 + 10_000 + 2 * BETWEEN_ATTACKS_MS },
    ],
    noiseEvents: 12,
  };
}

/** A shift of some hours: an attack every 10 to 25 minutes, noise about every two minutes. */
export function longPlan(durationMs: number, random: RandomStream): ShiftPlan {
  const kinds = Object.keys(ATTACK_KINDS) as AttackName[];
  const attacks: { kind: AttackName; atMs: number }[] = [];
  for (let atMs = 60_000 * random.integer(1, 5); atMs < durationMs - 120_000; ) {
    attacks.push({ kind: random.pick(kinds), atMs });
    atMs += 60_000 * random.integer(10, 25);
  }
  return { durationMs, attacks, noiseEvents: Math.round(durationMs / 120_000) };
}

/** Everything that happens in a shift, from one stream of chance. */
export function planShift(plan: ShiftPlan, random: RandomStream): Shift {
  const innocentIps = Array.from(
    { length: 8 },
    (_, index) => `${random.pick(['10.20', '10.30', '192.168'])}.${index + 1}.${random.integer(2, 250)}`,
  );
  // Some of those who are innocent work from outside, and mistype their password too.
  for (let i = 0; i < 4; i++) innocentIps.push(`203.0.113.${20 + 10 * i + random.integer(0, 9)}`);
  const attacks: Attack[] = [];
  const events: LabEvent[] = [];
  const taken = new Set(innocentIps);
  plan.attacks.forEach(({ kind, atMs }, index) => {
    const id = `attack-${index + 1}`;
    const sourceIp = attackerIp(random, taken);
    taken.add(sourceIp);
    const { templates, burst, intervalMs, jitterMs } = ATTACK_KINDS[kind] as AttackKind;
    let at = atMs;
    let user: string | null = null;
    for (const template of templates)
      for (let repeat = 0; repeat < burst; repeat++) {
        events.push({
          atMs: Math.round(at),
          system: template.system,
          type: template.type,
          sourceIp,
          port: template.port ?? null,
          user: template.user ?? null,
          attack: id,
        });
        if (template.user !== undefined) user = template.user;
        at += intervalMs + jitterMs * (2 * random.next() - 1);
      }
    attacks.push({ id, kind, startMs: atMs, endMs: Math.round(at), sourceIp, user });
  });
  const everyday: readonly Template[] = [
    { type: 'FAILED_LOGIN', system: 'auth', user: 'alice' },
    { type: 'FAILED_LOGIN', system: 'auth', user: 'bob' },
    { type: 'HTTP_ERROR', system: 'web', port: 443 },
    { type: 'SLOW_QUERY', system: 'database', port: 5432 },
    { type: 'CONN_TIMEOUT', system: 'web', port: 443 },
    { type: 'RATE_LIMIT', system: 'web', port: 443 },
  ];
  for (let n = 0; n < plan.noiseEvents; n++) {
    const template = random.pick(everyday);
    events.push({
      atMs: random.integer(0, plan.durationMs - 1),
      system: template.system,
      type: template.type,
      sourceIp: random.pick(innocentIps),
      port: template.port ?? null,
      user: template.user ?? null,
      attack: null,
    });
  }
  events.sort((a, b) => a.atMs - b.atMs || a.type.localeCompare(b.type));
  return { events, attacks, innocentIps };
}

function attackerIp(random: RandomStream, taken: ReadonlySet<string>): string {
  for (;;) {
    const prefix = random.chance(0.7)
      ? random.pick(SUSPICIOUS_PREFIXES)
      : `${random.integer(60, 99)}.${random.integer(1, 254)}.${random.integer(1, 254)}`;
    const address = `${prefix}.${random.integer(2, 250)}`;
    if (!taken.has(address)) return address;
  }
}
