import type { Logger } from 'pino';
import type { AgentTable } from './agents/table.ts';
import type { EventBus } from './events/event-bus.ts';
import type { Mailboxes } from './ipc/mailboxes.ts';
import type { Metrics } from './metrics/metrics.ts';
import type { KernelOptions } from './options.ts';
import type { Permissions } from './permissions/permissions.ts';
import type { StateStore } from './state/state-store.ts';

/** What a syscall handler sees of the kernel: its parts, by name. */
export interface Kernel {
  readonly options: KernelOptions;
  /** Random name of this run of the kernel; part of every sandbox's and cgroup's name. [a-z0-9]{8} */
  readonly bootId: string;
  /** ms since the epoch. */
  readonly startedAt: number;
  readonly log: Logger;
  readonly agents: AgentTable;
  readonly permissions: Permissions;
  readonly mailboxes: Mailboxes;
  readonly events: EventBus;
  readonly state: StateStore;
  readonly metrics: Metrics;
  /** Tells every part that keeps things by caller id that this one will never come back. */
  release(callerId: number): void;
}

/**
 * A part that keeps things by caller id (mailboxes, subscriptions, private state). Called once when that id will never
 * come back: an agent has ended for good, or an operator's connection has closed. Restarts do not call it.
 */
export interface KeepsByCaller {
  release(callerId: number): void;
}
