import { Luck, type RandomStream } from '../../luck/streams.ts';

/** The attacks of the lab: templates in order, each repeated, at intervals with jitter. */

interface Template {
  readonly type: string;
  readonly system: 'auth' | 'web' | 'firewall' | 'database';
  readonly severity: 'low' | 'medium' | 'high' | 'critical';
  readonly user?: string;
  readonly port?: number;
}

interface AttackKind {
  readonly templates: readonly Template[];
  readonly burst: number;
  readonly intervalMs: number;
  readonly jitterMs: number;
}

const login = (user: string): Template => ({
  type: 'FAILED_LOGIN',
  system: 'auth',
  severity: 'medium',
  user,
});
const invalid = (user: string): Template => ({
  type: 'INVALID_USER',
  system: 'auth',
  severity: 'medium',
  user,
});
const refused = (port: number): Template => ({
  type: 'CONN_TIMEOUT',
  system: 'firewall',
  severity: 'low',
  port,
});
const denied = (port: number): Template => ({
  type: 'FW_DENY',
  system: 'firewall',
  severity: 'medium',
  port,
});

export const ATTACK_KINDS = {
  brute_force: {
    templates: [
      login('admin'),
      login('root'),
      login('administrator'),
      invalid('test'),
      invalid('guest'),
      { type: 'BRUTE_FORCE', system: 'auth', severity: 'critical', user: 'admin' },
    ],
    burst: 5,
    intervalMs: 200,
    jitterMs: 50,
  },
  sql_injection: {
    templates: [
      { type: 'HTTP_ERROR', system: 'web', severity: 'medium', port: 443 },
      { type: 'SLOW_QUERY', system: 'database', severity: 'medium', port: 5432 },
      { type: 'SQL_INJECTION', system: 'web', severity: 'critical', port: 443 },
      { type: 'SQL_INJECT', system: 'database', severity: 'critical', port: 5432 },
    ],
    burst: 2,
    intervalMs: 500,
    jitterMs: 100,
  },
  port_scan: {
    templates: [
      refused(21),
      refused(23),
      refused(25),
      denied(445),
      denied(3389),
      { type: 'PORT_SCAN', system: 'firewall', severity: 'high' },
    ],
    burst: 3,
    intervalMs: 100,
    jitterMs: 20,
  },
  data_exfil: {
    templates: [
      { type: 'UNAUTH_ACCESS', system: 'database', severity: 'high', user: 'backup', port: 5432 },
      { type: 'SLOW_QUERY', system: 'database', severity: 'medium', port: 5432 },
      { type: 'BW_SPIKE', system: 'firewall', severity: 'medium' },
      { type: 'DATA_EXFIL', system: 'database', severity: 'critical', user: 'backup' },
      { type: 'C2_BEACON', system: 'firewall', severity: 'critical' },
    ],
    burst: 1,
    intervalMs: 2000,
    jitterMs: 500,
  },
  privilege_escalation: {
    templates: [
      login('deploy'),
      { type: 'PATH_TRAVERSAL', system: 'web', severity: 'high', port: 443 },
      { type: 'PRIV_ESC', system: 'auth', severity: 'critical', user: 'deploy' },
    ],
    burst: 1,
    intervalMs: 1000,
    jitterMs: 200,
  },
  ddos: {
    templates: [
      { type: 'RATE_LIMIT', system: 'web', severity: 'medium', port: 443 },
      { type: 'RATE_LIMIT', system: 'web', severity: 'medium', port: 443 },
      { type: 'CONN_TIMEOUT', system: 'web', severity: 'low', port: 443 },
      { type: 'BW_SPIKE', system: 'firewall', severity: 'medium' },
      { type: 'POOL_EXHAUSTED', system: 'database', severity: 'medium' },
      { type: 'DDOS_DETECT', system: 'firewall', severity: 'critical' },
    ],
    burst: 10,
    intervalMs: 50,
    jitterMs: 10,
  },
} as const satisfies Readonly<Record<string, AttackKind>>;

export type AttackName = keyof typeof ATTACK_KINDS;

/** Networks that attackers come from, most of the time. */
export const SUSPICIOUS_PREFIXES = [
  '185.220.101',
  '45.155.205',
  '194.26.192',
  '89.248.167',
  '141.98.10',
] as const;
const FROM_SUSPICIOUS = 0.7;

export interface LabEvent extends Template {
  /** After the start of the shift. */
  readonly atMs: number;
  readonly sourceIp: string;
}

/** What happened, for whoever judges what was found. */
export interface Attack {
  readonly kind: AttackName;
  readonly startMs: number;
  readonly endMs: number;
  readonly sourceIp: string;
  readonly events: number;
}

export interface Shift {
  readonly events: readonly LabEvent[];
  readonly attacks: readonly Attack[];
}

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
/** In the mixed demonstration, between two attacks. */
const GAP_MS = 5000;

/** Eight hours: each kind once, the mixed demonstration (three kinds at short intervals), and people at work. */
export function planShift(seed: number): Shift {
  const random = new Luck(seed).stream('soc-shift');
  const kinds = random.shuffle(Object.keys(ATTACK_KINDS) as AttackName[]);
  const plan = kinds.map((kind, index) => ({
    kind,
    atMs: (index + 0.5) * HOUR_MS + random.integer(0, 20) * MINUTE_MS,
  }));
  let atMs = 7 * HOUR_MS;
  for (const kind of ['brute_force', 'sql_injection', 'port_scan'] as const) {
    plan.push({ kind, atMs });
    const { templates, burst, intervalMs } = ATTACK_KINDS[kind];
    atMs += templates.length * burst * intervalMs + GAP_MS;
  }
  const events: LabEvent[] = [];
  const attacks = plan.map(({ kind, atMs: startMs }): Attack => {
    const made = attackEvents(kind, startMs, attackerIp(random), random);
    events.push(...made);
    const last = made.at(-1) as LabEvent;
    return { kind, startMs, endMs: last.atMs, sourceIp: last.sourceIp, events: made.length };
  });
  events.push(...everyday(random));
  events.sort((a, b) => a.atMs - b.atMs);
  return { events, attacks };
}

export function attackEvents(
  kind: AttackName,
  startMs: number,
  sourceIp: string,
  random: RandomStream,
): LabEvent[] {
  const { templates, burst, intervalMs, jitterMs }: AttackKind = ATTACK_KINDS[kind];
  let at = startMs;
  return templates.flatMap((template) =>
    Array.from({ length: burst }, () => {
      const event = { ...template, atMs: Math.round(at), sourceIp };
      at += intervalMs + (random.next() * 2 - 1) * jitterMs;
      return event;
    }),
  );
}

function attackerIp(random: RandomStream): string {
  const prefix = random.chance(FROM_SUSPICIOUS)
    ? random.pick(SUSPICIOUS_PREFIXES)
    : `${random.integer(60, 99)}.${random.integer(1, 254)}.${random.integer(1, 254)}`;
  return `${prefix}.${random.integer(2, 250)}`;
}

/** Mistyped passwords, slow queries: what is no attack. */
function everyday(random: RandomStream): LabEvent[] {
  const kinds: readonly Template[] = [
    login('alice'),
    login('bob'),
    { type: 'HTTP_ERROR', system: 'web', severity: 'medium', port: 443 },
    { type: 'SLOW_QUERY', system: 'database', severity: 'medium', port: 5432 },
    { type: 'RATE_LIMIT', system: 'web', severity: 'medium', port: 443 },
  ];
  return Array.from({ length: 96 }, (_, index) => ({
    ...random.pick(kinds),
    atMs: Math.round((index + random.next()) * 5 * MINUTE_MS),
    sourceIp: `10.20.${random.integer(1, 8)}.${random.integer(2, 250)}`,
  }));
}

/** As systems write it, with the time left open. */
export function logLine({ system, type, sourceIp, port, user }: LabEvent): string {
  const parts = ['{{time}}', system, type, `src=${sourceIp}`];
  if (port !== undefined) parts.push(`port=${port}`);
  if (user !== undefined) parts.push(`user=${user}`);
  return `${parts.join(' ')}\n`;
}
