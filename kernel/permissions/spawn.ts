import { CloveError } from '../../errors/index.ts';
import type { LaunchPlan } from '../agents/agent.ts';
import type { SpawnRequest } from '../agents/spawn-request.ts';
import { readAndClose } from '../files/fd.ts';
import { openForCaller } from '../files/open.ts';
import type { Caller } from '../identity.ts';
import type { Kernel } from '../kernel.ts';
import { childRefusal, requestRefusal, withParentsLimits } from './child-bounds.ts';
import { type Grants, intersect } from './grants.ts';
import { AGENT_HOME, levelGrants } from './levels.ts';
import { deny, within } from './permissions.ts';
import { grantsOf } from './policy.ts';
import { forbidden, refusalText } from './refusal.ts';

/** Children that were admitted and are not in the table yet: two at a time must not share one allowance. */
const pending = new WeakMap<Kernel, Map<number, { readonly parentId: number; readonly plan: LaunchPlan }>>();

export interface SpawnAuthority {
  /** What is asked for, with what an agent's child gets where its request says nothing. */
  readonly request: SpawnRequest;
  /** Reads a script as the caller sees it; null = it is on the host. */
  readonly readScript: ((script: string) => Promise<Uint8Array>) | null;
  /** Judges the plan and gives the agent its grants, before anything of it runs. @throws FORBIDDEN, OVERLOAD */
  admit(agentId: number, plan: LaunchPlan): void;
  started(agentId: number): void;
  failed(agentId: number): void;
}

/** What a caller may start: an operator's client anything, an agent what has no more of anything than itself. @throws FORBIDDEN */
export function authoriseSpawn(kernel: Kernel, caller: Caller, request: SpawnRequest): SpawnAuthority {
  const { permissions, quotas } = kernel;
  const own = permissions.grantsOf(caller);
  const grants = childGrants(kernel, caller, request);
  const waiting = pending.getOrInsertComputed(kernel, () => new Map());
  const refuse = (rule: string) => forbidden(deny(rule, own, request.name ?? ''), refusalText('SPAWN', rule));
  // What happens to a member of a group happens to the others.
  if (request.group != null && !permissions.allows(caller, 'agents.all')) throw refuse('spawn.group');
  const parent = parentOf(kernel, caller);
  if (parent !== null) {
    const refusal = requestRefusal(request);
    if (refusal !== null) throw refuse(refusal);
  }
  const bounded = parent === null ? request : withParentsLimits(request, parent.plan.sandbox);
  return {
    request: bounded,
    readScript:
      parent === null
        ? null
        : async (script) => {
            if (!own.can.read) throw refuse('syscall.not-granted:READ');
            return readAndClose(await openForCaller(kernel, caller, script, 'read'));
          },
    admit(agentId, plan) {
      if (parent !== null) {
        // Nobody would answer for the child.
        if (!quotas.has(caller.id)) throw new CloveError('CANCELLED', 'the agent has ended');
        const siblings = plansBelow(kernel, caller, waiting);
        const mounts = (request.mounts ?? []).map((mount) => ({
          ...mount,
          readonly: mount.readonly ?? true,
        }));
        const refusal = childRefusal(plan, mounts, parent.plan, siblings, own.children);
        if (refusal !== null) throw refuse(refusal);
      }
      permissions.adopt(agentId, caller.id, grants);
      try {
        quotas.open(agentId, caller.id);
      } catch (error) {
        permissions.release(agentId);
        throw error;
      }
      if (parent !== null) waiting.set(agentId, { parentId: caller.id, plan });
    },
    started: (agentId) => {
      waiting.delete(agentId);
    },
    failed: (agentId) => {
      waiting.delete(agentId);
      permissions.release(agentId);
      quotas.release(agentId);
    },
  };
}

function childGrants({ permissions }: Kernel, caller: Caller, { permissions: asked }: SpawnRequest): Grants {
  const usual = levelGrants('default', AGENT_HOME);
  const wanted =
    asked === null || asked === undefined
      ? null
      : typeof asked === 'string'
        ? levelGrants(asked, AGENT_HOME)
        : grantsOf(asked, AGENT_HOME);
  if (permissions.isUnbounded(caller)) return wanted ?? usual;
  const own = permissions.grantsOf(caller);
  return wanted === null ? intersect(usual, own) : within(own, wanted);
}

/** An agent behind a relay is walled in as its workspace is. */
function parentOf(kernel: Kernel, caller: Caller): { readonly plan: LaunchPlan } | null {
  if (caller.kind === 'operator') return null;
  const agent = kernel.agents.get(caller.id) ?? kernel.remotes.workspaceOf(caller.id) ?? undefined;
  if (agent === undefined) throw new CloveError('CANCELLED', 'the agent has ended');
  return agent;
}

function plansBelow(
  kernel: Kernel,
  caller: Caller,
  waiting: ReadonlyMap<number, { readonly plan: LaunchPlan }>,
): LaunchPlan[] {
  const plans = new Map<number, LaunchPlan>();
  for (const { id, plan } of kernel.agents.list()) plans.set(id, plan);
  for (const [id, { plan }] of waiting) plans.set(id, plan);
  return [...plans]
    .filter(([id]) => id !== caller.id && kernel.permissions.governs(caller, id))
    .map(([, plan]) => plan);
}
