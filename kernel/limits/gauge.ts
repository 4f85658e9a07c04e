/** What an agent has run into. docs/design/supervision.md says how each is seen. */
export const RESOURCES = [
  'memory',
  'pids',
  'tmpfs',
  'inodes',
  'fds',
  'log',
  'connections',
  'syscalls',
  'quota',
  'queue',
] as const;
export type Resource = (typeof RESOURCES)[number];

/** One event of a limit. */
export interface LimitWarning {
  readonly resource: Resource;
  /** How often it was met since the last warning of the kind; bytes dropped of a log. */
  readonly count: number;
  /** In the unit of the resource; null = not known. */
  readonly limit: number | null;
  readonly used: number | null;
  /** A folder inside, a quota, a syscall; null = there is only one. */
  readonly where: string | null;
}

/** The same is told again after so long, with what came together meanwhile. */
const REPEAT_MS = 10_000;
/** Of something that fills: full from here on, and empty enough again to be told anew below there. */
const FULL_SHARE = 0.995;
const FREE_SHARE = 0.9;

interface Met {
  untold: number;
  /** null = never. */
  toldAtMs: number | null;
  isFull: boolean;
  limit: number | null;
  used: number | null;
}

/** What is told of the limits of one incarnation, and how often. Pure. */
export class LimitGauge {
  readonly #met = new Map<string, Met>();

  /** It was met `times` more. The warning that is due; null = none is, now. */
  met(
    resource: Resource,
    times: number,
    about: { readonly limit: number | null; readonly used?: number | null; readonly where?: string | null },
    nowMs: number,
  ): LimitWarning | null {
    const { limit, used = null, where = null } = about;
    const met = this.#of(resource, where);
    met.untold += times;
    met.limit = limit;
    met.used = used;
    return this.#due(met, resource, where, nowMs);
  }

  /** Something that can be full is as full as this. The warning when it has become so. */
  level(
    resource: Resource,
    used: number,
    limit: number,
    where: string | null,
    nowMs: number,
  ): LimitWarning | null {
    const met = this.#of(resource, where);
    if (used < limit * FREE_SHARE) met.isFull = false;
    if (used < limit * FULL_SHARE || met.isFull) return null;
    met.isFull = true;
    return this.met(resource, 1, { limit, used, where }, nowMs);
  }

  /** What has not been told, at the end. */
  rest(): LimitWarning[] {
    return [...this.#met].flatMap(([key, met]) => {
      if (met.untold === 0) return [];
      const [resource, where] = key.split(' ');
      const { untold: count, limit, used } = met;
      met.untold = 0;
      return [{ resource: resource as Resource, count, limit, used, where: where || null }];
    });
  }

  #of(resource: Resource, where: string | null): Met {
    return this.#met.getOrInsertComputed(`${resource} ${where ?? ''}`, () => ({
      untold: 0,
      toldAtMs: null,
      isFull: false,
      limit: null,
      used: null,
    }));
  }

  #due(met: Met, resource: Resource, where: string | null, nowMs: number): LimitWarning | null {
    if (met.untold === 0 || (met.toldAtMs !== null && nowMs - met.toldAtMs < REPEAT_MS)) return null;
    const { untold: count, limit, used } = met;
    met.untold = 0;
    met.toldAtMs = nowMs;
    return { resource, count, limit, used, where };
  }
}
