import type { StateStore } from '../../kernel/state/state-store.ts';
import type { WorldClock } from '../clock/types.ts';
import type { WorldFiles } from '../filesystem/types.ts';
import type { RandomStream } from '../luck/streams.ts';
import type { WorldNetwork } from '../network/types.ts';

export interface MemberInfo {
  readonly id: number;
  readonly name: string;
  /** A process of its own stands behind it; else it is a client. */
  readonly isAgent: boolean;
}

/** What can be done to those who are in the world. */
export interface MemberControl {
  list(): readonly MemberInfo[];
  /** Its processes are killed; what follows is its restart policy's matter. */
  crash(id: number): void;
  pause(id: number): Promise<void>;
  resume(id: number): Promise<void>;
}

/** What real processes can be put under; only mounted worlds have it. Each returns how to end it. */
export interface PressureControl {
  memory(memberId: number, percent: number): () => void;
  cpu(memberId: number, percent: number): () => void;
}

/**
 * What events act on: the parts of a world, whichever form they have. A part that is null is the members' own, and an event
 * that needs it is an error that says so, never an event without effect.
 */
export interface ChaosTarget {
  readonly form: 'virtual' | 'mounted';
  readonly clock: WorldClock;
  readonly files: WorldFiles | null;
  readonly network: WorldNetwork | null;
  readonly members: MemberControl;
  readonly pressure: PressureControl | null;
  state(): StateStore;
  /** A stream of the world's luck for one purpose; each call gives the next one. */
  random(purpose: string): RandomStream;
  /** One request of somebody outside the world; its outcome is nobody's business. */
  request(order: {
    readonly url: string;
    readonly method: string;
    readonly body: string | undefined;
  }): Promise<void>;
}
