import type { KeptAgent } from '../kernel/worlds/host.ts';
import type { ChaosState } from './chaos/chaos.ts';
import type { ClockState } from './clock/types.ts';
import type { ActiveFileFault, TreeEntry } from './filesystem/types.ts';
import type { NetworkState } from './network/types.ts';
import type { EntryState } from './schedule/schedule.ts';
import type { World } from './world.ts';

export interface StoredValue {
  readonly key: string;
  /** JSON. */
  readonly text: string;
  readonly ttlMs: number | null;
}

export interface KeptMessage {
  readonly fromName: string;
  /** JSON. */
  readonly text: string;
}

/** All that a world is at one moment but its definition and the contents of its files: plain JSON. */
export interface WorldImage {
  readonly clock: ClockState;
  /** Draws per purpose. */
  readonly luck: Readonly<Record<string, number>>;
  readonly files: {
    readonly base: readonly TreeEntry[];
    readonly entries: readonly TreeEntry[];
    readonly faults: readonly Pick<ActiveFileFault, 'handle' | 'spec'>[];
  } | null;
  readonly network: NetworkState | null;
  readonly state: readonly StoredValue[];
  readonly chaos: ChaosState;
  readonly schedule: readonly EntryState[];
  /** What lies in the mailboxes of members, by their names. */
  readonly mail: Readonly<Record<string, readonly KeptMessage[]>>;
  /** Who was in it, and what it takes to have them back. */
  readonly agents: readonly KeptAgent[];
}

/** The world as it is now, taken in one step. `mailOf`: what waits for a member. */
export function imageOf(
  world: World,
  mailOf: (memberId: number) => readonly KeptMessage[],
  agents: readonly KeptAgent[] = [],
): WorldImage {
  const { clock, luck, files, network } = world.parts;
  const mail = new Map<string, readonly KeptMessage[]>(world.pendingMail);
  for (const { id, name } of world.members()) {
    const waiting = mailOf(id);
    if (name !== '' && waiting.length > 0) mail.set(name, [...(mail.get(name) ?? []), ...waiting]);
  }
  return {
    clock: clock.snapshot(),
    luck: luck.snapshot(),
    files:
      files === null
        ? null
        : {
            base: files.baseEntries(),
            entries: files.entries(),
            faults: files.faults.list().map(({ handle, spec }) => ({ handle, spec })),
          },
    network: network?.snapshot() ?? null,
    state: world.hasState ? world.state.globalEntries() : [],
    chaos: world.chaos.snapshot(),
    schedule: world.schedule.snapshot(),
    mail: Object.fromEntries(mail),
    agents,
  };
}
