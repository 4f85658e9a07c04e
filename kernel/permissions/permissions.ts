import type { Caller } from '../identity.ts';
import type { Permission } from '../syscalls/define.ts';

/** What an agent holds unless told otherwise: its own mailbox, state, events, files, commands and figures. */
export const AGENT_DEFAULTS: readonly Permission[] = [
  'none',
  'ipc.send',
  'ipc.receive',
  'ipc.register',
  'state.read',
  'state.write',
  'files.read',
  'files.write',
  'exec',
  'events.subscribe',
  'events.emit',
  'metrics.self',
];

/** Who may do what. The operator holds everything; an agent the defaults. Nobody can edit grants from inside. */
export class Permissions {
  readonly #agentGrants: ReadonlySet<Permission> = new Set(AGENT_DEFAULTS);

  allows(caller: Caller, permission: Permission): boolean {
    return caller.kind === 'operator' || this.#agentGrants.has(permission);
  }

  list(caller: Caller, all: readonly Permission[]): Permission[] {
    return all.filter((permission) => this.allows(caller, permission));
  }
}
