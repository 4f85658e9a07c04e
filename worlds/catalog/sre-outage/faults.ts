/** What may go wrong on the platform, where, and what ends it. */
import { Luck } from '../../luck/streams.ts';
import type { ComponentName } from './topology.ts';

export const ACTIONS = [
  'restart',
  'rollback',
  'scale-out',
  'resize-pool',
  'failover',
  'renew-certificate',
  'sync-clock',
  'reroute',
  'flush',
  'warm',
  'dead-letter',
  'purge',
  'switch-provider',
  'shed-load',
] as const;
export type Action = (typeof ACTIONS)[number];

/** What ends a fault for good: an action on a component, or a file that is as it should be. */
export type Repair =
  | { readonly action: Action; readonly on: 'itself' | ComponentName }
  | { readonly file: 'config' | 'secret' | 'log' };

interface FaultKindRow {
  readonly summary: string;
  readonly places: readonly ComponentName[];
  readonly repair: Repair;
  /** Ends it, too, at a price. */
  readonly alsoEndedBy?: { readonly action: Action; readonly on: ComponentName };
  /** A restart of the component helps for so long. ms */
  readonly reliefMs?: number;
}

const MINUTE_MS = 60_000;

export const FAULTS = {
  database_down: {
    summary: 'the primary of the database hangs',
    places: ['database'],
    repair: { action: 'failover', on: 'itself' },
    alsoEndedBy: { action: 'restart', on: 'database' },
  },
  pool_exhausted: {
    summary: 'connections leak until the pool has none left',
    places: ['orders', 'catalogue'],
    repair: { action: 'resize-pool', on: 'itself' },
    reliefMs: 5 * MINUTE_MS,
  },
  memory_leak: {
    summary: 'a version of some hours ago eats memory until it is killed, again and again',
    places: ['checkout', 'catalogue', 'payments'],
    repair: { action: 'rollback', on: 'itself' },
    reliefMs: 6 * MINUTE_MS,
  },
  disk_full: {
    summary: 'a debug log has filled the disk',
    places: ['orders', 'payments', 'checkout'],
    repair: { file: 'log' },
  },
  bad_deploy: {
    summary: 'a new version throws',
    places: ['checkout', 'catalogue', 'orders', 'payments'],
    repair: { action: 'rollback', on: 'itself' },
  },
  bad_config: {
    summary: 'a configuration file has a deadline of five milliseconds',
    places: ['checkout', 'catalogue', 'orders'],
    repair: { file: 'config' },
  },
  expired_certificate: {
    summary: 'a certificate has expired',
    places: ['edge', 'payments', 'orders'],
    repair: { action: 'renew-certificate', on: 'itself' },
  },
  dns_failure: {
    summary: 'the resolver has lost a name',
    places: ['database', 'queue', 'cache'],
    repair: { action: 'flush', on: 'resolver' },
  },
  network_partition: {
    summary: 'one component cannot reach what it depends on; others can',
    places: ['orders', 'catalogue', 'payments'],
    repair: { action: 'reroute', on: 'itself' },
  },
  cache_stampede: {
    summary: 'the cache is cold and everybody asks the database',
    places: ['cache'],
    repair: { action: 'warm', on: 'itself' },
  },
  queue_backlog: {
    summary: 'a message that cannot be worked off holds up all behind it',
    places: ['queue'],
    repair: { action: 'dead-letter', on: 'itself' },
    alsoEndedBy: { action: 'purge', on: 'queue' },
  },
  dependency_errors: {
    summary: 'the acquirer of the payments fails',
    places: ['acquirer'],
    repair: { action: 'switch-provider', on: 'payments' },
  },
  clock_skew: {
    summary: 'a clock is minutes ahead, and tokens are not valid yet',
    places: ['orders', 'payments'],
    repair: { action: 'sync-clock', on: 'itself' },
  },
  retry_storm: {
    summary: 'clients that were refused once ask again and again',
    places: ['edge'],
    repair: { action: 'shed-load', on: 'itself' },
  },
  credentials_rotated: {
    summary: 'the password of the database was changed, and one component has the old one',
    places: ['orders', 'catalogue'],
    repair: { file: 'secret' },
  },
  traffic_surge: {
    summary: 'many more customers than there is capacity for',
    places: ['checkout', 'catalogue'],
    repair: { action: 'scale-out', on: 'itself' },
  },
} as const satisfies Readonly<Record<string, FaultKindRow>>;

export type FaultKind = keyof typeof FAULTS;
export const FAULT_KINDS = Object.keys(FAULTS) as FaultKind[];

export function rowOf(kind: FaultKind): FaultKindRow {
  return FAULTS[kind];
}

/** One outage of a shift. Times are ms since the shift began. */
export interface Outage {
  readonly kind: FaultKind;
  readonly component: ComponentName;
  readonly startMs: number;
  /** When somebody else takes over and mends it. */
  readonly endMs: number;
  /** 0 … 1: how bad. */
  readonly severity: number;
  /** What of the observability is taken along, and until when; null = nothing. */
  readonly blind: { readonly what: 'logs' | 'figures'; readonly untilMs: number } | null;
}

/** Something that was changed, as everybody can see. Most changes are innocent. */
export interface Change {
  /** ms since the shift began; before it where negative. */
  readonly atMs: number;
  readonly component: ComponentName;
  readonly what: 'deploy' | 'config' | 'secret';
  readonly text: string;
}

export interface ShiftPlan {
  readonly outages: readonly Outage[];
  readonly changes: readonly Change[];
  readonly durationMs: number;
}

/** Every outage has so much time, and quiet before and after it. */
export const SLOT_MS = 40 * MINUTE_MS;
export const HANDOVER_MS = 38 * MINUTE_MS;
export const DEFAULT_OUTAGES = 12;

/** The same for the same seed. `only`: outages of this kind alone. */
export function planShift(
  seed: number,
  { outages: count = DEFAULT_OUTAGES, only = null }: { outages?: number; only?: FaultKind | null } = {},
): ShiftPlan {
  const draw = new Luck(seed).stream('sre-outage/shift');
  const kinds: FaultKind[] = [];
  while (kinds.length < count) kinds.push(...(only === null ? draw.shuffle(FAULT_KINDS) : [only]));
  const outages = kinds.slice(0, count).map((kind, slot): Outage => {
    const component = draw.pick<ComponentName>(rowOf(kind).places);
    const startMs = slot * SLOT_MS + draw.integer(180, 480) * 1000;
    const endMs = slot * SLOT_MS + HANDOVER_MS;
    const severity = 0.4 + 0.6 * draw.next();
    // Monitoring runs on the same platform: in one outage of three it is not there for a while.
    const lot = draw.next();
    const untilMs = startMs + draw.integer(5, 28) * MINUTE_MS;
    const blind =
      lot < 0.2
        ? { what: 'logs' as const, untilMs }
        : lot < 0.35
          ? { what: 'figures' as const, untilMs }
          : null;
    return { kind, component, startMs, endMs, severity, blind };
  });
  const changes = outages.flatMap((outage) => [...changesOf(outage), ...innocentChange(outage, draw)]);
  changes.sort((a, b) => a.atMs - b.atMs);
  return { outages, changes, durationMs: count * SLOT_MS };
}

function changesOf({ kind, component, startMs }: Outage): Change[] {
  switch (kind) {
    case 'bad_deploy':
      return [{ atMs: startMs - 30_000, component, what: 'deploy', text: `${component} rolled out` }];
    case 'memory_leak':
      return [
        { atMs: startMs - 3 * 60 * MINUTE_MS, component, what: 'deploy', text: `${component} rolled out` },
      ];
    case 'bad_config':
      return [{ atMs: startMs, component, what: 'config', text: `/etc/shop/${component}.yaml changed` }];
    case 'credentials_rotated':
      return [
        {
          atMs: startMs - 5000,
          component: 'database',
          what: 'secret',
          text: 'password of the database changed',
        },
      ];
    default:
      return [];
  }
}

/** In every other outage somebody else has just changed something. */
function innocentChange({ kind, component, startMs }: Outage, draw: ReturnType<Luck['stream']>): Change[] {
  const wanted = draw.chance(0.5);
  const others = (['checkout', 'catalogue', 'orders', 'payments', 'fulfilment'] as const).filter(
    (name) => name !== component,
  );
  const other = draw.pick(others);
  const atMs = startMs - draw.integer(60, 600) * 1000;
  if (!wanted || kind === 'bad_deploy') return [];
  return [{ atMs, component: other, what: 'deploy', text: `${other} rolled out` }];
}
