import type { ChangeLog } from './change-log.ts';
import { KeySpace } from './key-space.ts';

/**
 * - `global`: one space for everybody. Durable where the kernel has a data directory.
 * - `agent`: private to one caller; an agent's survives its restarts and goes with the agent, a client's with its connection.
 *   Durable where the agent outlives the kernel.
 * - `session`: private to one caller and one life of it: gone when the agent's process ends or the client disconnects.
 */
export const STATE_SCOPES = ['global', 'agent', 'session'] as const;
export type StateScope = (typeof STATE_SCOPES)[number];

/** The keys of one scope of one owner, with what is known of their changes. */
export class Space {
  readonly scope: StateScope;
  /** 0 = everybody. */
  readonly ownerId: number;
  readonly isDurable: boolean;
  readonly keys = new KeySpace();
  /** Made by the first who watches. */
  log: ChangeLog | null = null;
  /** Of the latest change that will not be undone. */
  settledVersion = 0;

  constructor(scope: StateScope, ownerId: number, isDurable: boolean) {
    this.scope = scope;
    this.ownerId = ownerId;
    this.isDurable = isDurable;
  }
}
