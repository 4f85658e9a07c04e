export const RESTART_POLICIES = ['never', 'always', 'on-failure'] as const;
export type RestartPolicy = (typeof RESTART_POLICIES)[number];

/** What the spawn request said about restarts. */
export interface RestartOptions {
  readonly policy: RestartPolicy;
  /** Restarts allowed within the window; one more and the agent is given up, once, with AGENT_ESCALATED. */
  readonly maxRestarts: number;
  readonly windowMs: number;
  /** Full jitter: a restart waits a random time between 0 and min(cap, base · 2ⁿ). */
  readonly backoffBaseMs: number;
  readonly backoffCapMs: number;
  /** An incarnation that lived this long resets the backoff. */
  readonly stableMs: number;
  /**
   * One that ended sooner has failed, with whatever status. null = the usual: a second under `always`, where it also means
   * that a clean end after that is no failure, and nothing under `on-failure`.
   */
  readonly minUptimeMs: number | null;
}

const USUAL_MIN_UPTIME_MS = 1000;

export const DEFAULT_RESTART: RestartOptions = {
  policy: 'never',
  maxRestarts: 5,
  windowMs: 300_000,
  backoffBaseMs: 100,
  backoffCapMs: 30_000,
  stableMs: 60_000,
  minUptimeMs: null,
};

export type RestartDecision =
  | { readonly kind: 'none' }
  | { readonly kind: 'restart'; readonly delayMs: number; readonly attempt: number }
  | { readonly kind: 'escalate' };

/** How an incarnation ended, as far as the policy cares. */
export interface Ended {
  /** Ended by itself with status 0. */
  readonly clean: boolean;
  readonly livedMs: number;
  /** Monotonic, ms. */
  readonly nowMs: number;
}

export interface Clocks {
  readonly monotonicMs: number;
  /** Since the epoch. */
  readonly wallMs: number;
}

/** The memory of a policy as it is stored. */
export interface SavedRestarts {
  readonly count: number;
  readonly consecutive: number;
  readonly recentWallMs: readonly number[];
}

/** The policy of one agent with its memory. Pure but for the luck that is handed in. */
export class RestartState {
  readonly options: RestartOptions;
  /** Restarts over the agent's whole life. */
  count = 0;
  escalated = false;
  #consecutive = 0;
  #recentMs: number[] = [];
  readonly #random: () => number;

  constructor(options: RestartOptions, random: () => number = Math.random) {
    this.options = options;
    this.#random = random;
  }

  /** What the next kernel has to know. */
  save(now: Clocks): SavedRestarts {
    return {
      count: this.count,
      consecutive: this.#consecutive,
      recentWallMs: this.#recentMs.map((at) => Math.round(now.wallMs - (now.monotonicMs - at))),
    };
  }

  /** A restart that lies in the future by the wall clock (which was set back) counts as one of just now. */
  restore({ count, consecutive, recentWallMs }: SavedRestarts, now: Clocks): void {
    this.count = count;
    this.#consecutive = consecutive;
    this.#recentMs = recentWallMs.map((at) => now.monotonicMs - Math.max(0, now.wallMs - at));
  }

  /** Whether an end like this one is followed by a restart at all, as far as the policy is concerned. */
  wants({ clean, livedMs }: Pick<Ended, 'clean' | 'livedMs'>): boolean {
    const { policy, minUptimeMs } = this.options;
    if (policy === 'never' || this.escalated) return false;
    return policy === 'always' || !clean || livedMs < (minUptimeMs ?? 0);
  }

  decide(ended: Ended): RestartDecision {
    const { maxRestarts, windowMs, backoffBaseMs, stableMs } = this.options;
    if (!this.wants(ended)) return { kind: 'none' };
    if (!this.isFailure(ended)) {
      // It did what it was there for: again, but not in a loop without a pause.
      this.#consecutive = 0;
      this.count += 1;
      return { kind: 'restart', delayMs: Math.floor(this.#random() * backoffBaseMs), attempt: this.count };
    }
    this.#recentMs = this.#recentMs.filter((at) => ended.nowMs - at < windowMs);
    if (this.#recentMs.length >= maxRestarts) {
      this.escalated = true;
      return { kind: 'escalate' };
    }
    if (ended.livedMs >= stableMs) this.#consecutive = 0;
    this.#recentMs.push(ended.nowMs);
    this.count += 1;
    return { kind: 'restart', delayMs: this.nextDelayMs(), attempt: this.count };
  }

  /** Whether an end counts against the agent. */
  isFailure({ clean, livedMs }: Pick<Ended, 'clean' | 'livedMs'>): boolean {
    return !clean || livedMs < (this.options.minUptimeMs ?? USUAL_MIN_UPTIME_MS);
  }

  /** Full jitter, one step further than the last time. */
  nextDelayMs(): number {
    const { backoffBaseMs, backoffCapMs } = this.options;
    const ceilingMs = Math.min(backoffCapMs, backoffBaseMs * 2 ** Math.min(this.#consecutive, 30));
    this.#consecutive += 1;
    return Math.floor(this.#random() * ceilingMs);
  }

  /** Started again because of others: nothing of before counts against it. */
  startOver(): void {
    this.count += 1;
    this.escalated = false;
    this.#consecutive = 0;
    this.#recentMs = [];
  }
}
