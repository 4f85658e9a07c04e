import type { Caller } from '../kernel/identity.ts';
import { type Grants, intersect } from '../kernel/permissions/grants.ts';
import { AGENT_HOME, levelGrants } from '../kernel/permissions/levels.ts';
import type { Permissions } from '../kernel/permissions/permissions.ts';
import { grantsOf } from '../kernel/permissions/policy.ts';
import type { Member } from '../kernel/worlds/host.ts';
import type { WorldDefinition } from './definition.ts';

type Wanted = NonNullable<WorldDefinition['permissions']>;

/** What a world says about an agent: by its role, else what holds for all; null = nothing. `name-2` has the role of `name`. */
export function permissionsFor({ agents, roles, permissions }: WorldDefinition, name: string): Wanted | null {
  const agent = agents[name] ?? agents[name.replace(/-\d+$/, '')];
  const role = agent?.role === undefined ? undefined : roles[agent.role];
  return role?.permissions ?? permissions ?? null;
}

/** A world takes away and never adds: an agent that is started in it has at most what its role has. @throws FORBIDDEN */
export function narrow(
  permissions: Permissions,
  definition: WorldDefinition,
  agent: Member,
  caller: Caller,
): void {
  const wanted = permissionsFor(definition, agent.name);
  if (wanted === null) return;
  const bound: Grants =
    typeof wanted === 'string' ? levelGrants(wanted, AGENT_HOME) : grantsOf(wanted, AGENT_HOME);
  const own = permissions.grantsOf({ id: agent.id, kind: 'agent' });
  permissions.set(caller, agent.id, intersect(own, bound));
}
