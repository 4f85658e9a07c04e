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
}

export const DEFAULT_RESTART: RestartOptions = {
  policy: 'never',
  maxRestarts: 5,
  windowMs: 300_000,
  backoffBaseMs: 100,
  backoffCapMs: 30_000,
  stableMs: 60_000,
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

  decide(ended: Ended): RestartDecision {
    const { policy, maxRestarts, windowMs, backoffBaseMs, backoffCapMs, stableMs } = this.options;
    if (policy === 'never' || this.escalated) return { kind: 'none' };
    if (policy === 'on-failure' && ended.clean) return { kind: 'none' };
    this.#recentMs = this.#recentMs.filter((at) => ended.nowMs - at < windowMs);
    if (this.#recentMs.length >= maxRestarts) {
      this.escalated = true;
      return { kind: 'escalate' };
    }
    if (ended.livedMs >= stableMs) this.#consecutive = 0;
    const ceilingMs = Math.min(backoffCapMs, backoffBaseMs * 2 ** Math.min(this.#consecutive, 30));
    this.#consecutive += 1;
    this.#recentMs.push(ended.nowMs);
    this.count += 1;
    return { kind: 'restart', delayMs: Math.floor(this.#random() * ceilingMs), attempt: this.count };
  }
}
