import { CloveError } from '../errors/index.ts';
import type { MemberControl, PressureControl } from './chaos/target.ts';
import type { WorldClock } from './clock/types.ts';
import type { WorldDefinition } from './definition.ts';
import type { WorldFiles } from './filesystem/types.ts';
import type { StreamBook } from './luck/stream-book.ts';
import type { WorldNetwork } from './network/types.ts';
import type { Origin } from './origin.ts';

/** What the kernel does for a world: its members are there. */
export interface WorldOutside {
  readonly members: MemberControl;
  /** A message from the world to members. */
  send(toIds: readonly number[], message: unknown): void;
  /** A CUSTOM event to members. */
  emit(toIds: readonly number[], type: string, data: unknown): void;
  /** Something happened that whoever watches the world wants to know. */
  changed(what: Readonly<Record<string, unknown>>): void;
}

/** What a world is made of, whichever form it has. */
export interface WorldParts {
  readonly id: string;
  readonly name: string;
  readonly ownerId: number;
  readonly seed: number;
  readonly definition: WorldDefinition;
  readonly origin: Origin;
  readonly form: 'virtual' | 'mounted';
  readonly clock: WorldClock;
  readonly luck: StreamBook;
  /** null = members keep their own. */
  readonly files: WorldFiles | null;
  readonly network: WorldNetwork | null;
  readonly pressure: PressureControl | null;
  readonly outside: WorldOutside;
}

/** @throws NOT_FOUND where members keep their own */
export function filesOf({ files }: WorldParts): WorldFiles {
  if (files === null) throw new CloveError('NOT_FOUND', 'this world has no files of its own');
  return files;
}
