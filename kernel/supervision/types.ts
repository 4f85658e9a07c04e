import type { RestartState } from '../agents/restart-policy.ts';

/**
 * What happens to the others of a group when one of its members fails: nothing; all of them start anew; those that come after
 * it do.
 */
export const STRATEGIES = ['one_for_one', 'one_for_all', 'rest_for_one'] as const;
export type Strategy = (typeof STRATEGIES)[number];

/** One node of a supervision tree that has members below it: agents, and other groups. */
export interface GroupSpec {
  readonly name: string;
  /** The group it is a member of; null = it is a tree of its own. */
  readonly parent: string | null;
  readonly strategy: Strategy;
  /** Its place among the members of its parent; of two with the same the older comes first. */
  readonly order: number;
  /** Restarts of members within the window; one more and the group as a whole has failed. */
  readonly maxRestarts: number;
  readonly windowMs: number;
  /** Full jitter between the failure of the group and its start by its parent. */
  readonly backoffBaseMs: number;
  readonly backoffCapMs: number;
}

export const DEFAULT_GROUP: Omit<GroupSpec, 'name'> = {
  parent: null,
  strategy: 'one_for_one',
  order: 1_000_000,
  maxRestarts: 5,
  windowMs: 300_000,
  backoffBaseMs: 100,
  backoffCapMs: 30_000,
};

export interface MemberSpec {
  readonly id: number;
  readonly name: string;
  /** null = it stands alone. */
  readonly group: string | null;
  readonly order: number;
  /** Names of agents that must be ready before it starts, or have ended as they should. */
  readonly dependsOn: readonly string[];
  readonly restart: RestartState;
}

/** How an incarnation ended, as far as supervision cares. */
export interface MemberEnd {
  /** By itself, with status 0. */
  readonly clean: boolean;
  readonly livedMs: number;
}

/** What a tree wants done, in this order. Whoever does it tells the tree what came of it. */
export type Command =
  /** Starts an incarnation. */
  | { readonly kind: 'start'; readonly id: number }
  /** Ends the incarnation that runs; what follows comes when it has ended. */
  | { readonly kind: 'stop'; readonly id: number }
  /** It is down and will be started again, when the delay is over and what it needs is there. */
  | {
      readonly kind: 'waiting';
      readonly id: number;
      readonly delayMs: number;
      /** The group that is started anew; null = it is the agent's own end. */
      readonly group: string | null;
    }
  /** It does not come back. `escalated`: because of too many restarts of its own. */
  | {
      readonly kind: 'retire';
      readonly id: number;
      readonly escalated: boolean;
      readonly group: string | null;
    }
  | {
      readonly kind: 'group_restarting';
      readonly group: string;
      readonly strategy: Strategy;
      readonly causeId: number;
      readonly memberIds: readonly number[];
      readonly delayMs: number;
    }
  /** `to`: the group that has to deal with it; null = nobody, its members are given up. */
  | {
      readonly kind: 'group_escalated';
      readonly group: string;
      readonly to: string | null;
      readonly causeId: number;
    };

export interface SavedGroup {
  readonly recentWallMs: readonly number[];
  readonly consecutive: number;
  readonly hasFailed: boolean;
}
