import type { Logger } from 'pino';
import { CloveError } from '../../errors/index.ts';
import type { Mailboxes } from '../ipc/mailboxes.ts';
import type { Permissions } from '../permissions/permissions.ts';
import type { Quotas } from '../permissions/quotas.ts';
import { type Fleet, startDelays } from './fleet.ts';
import type { DesiredAgent } from './fleet-rows.ts';
import type { Sandboxing } from './isolation.ts';
import type { Launcher } from './launcher.ts';
import { newAgent } from './new-agent.ts';
import { makePlan, type Plan, pendingPlan } from './plan.ts';
import { spawnRequest } from './spawn-request.ts';
import type { Supervisor } from './supervisor.ts';
import type { AgentTable } from './table.ts';

/** So that a machine that comes up does not fall down again. */
const STARTS_PER_SECOND = 50;

export interface RestoreOptions {
  readonly agents: AgentTable;
  readonly log: Logger;
  readonly fleet: Fleet;
  readonly supervisor: Supervisor;
  readonly launcher: Launcher;
  readonly mailboxes: Mailboxes;
  readonly permissions: Permissions;
  readonly quotas: Quotas;
  readonly sandboxing: Sandboxing;
}

/**
 * Puts the agents of the last kernel back: under their ids and names, with what they may do and what their restart policy
 * remembers, and started when it is their turn. At once and in one go, so that no name is free meanwhile.
 */
export function restoreFleet(agents: readonly DesiredAgent[], options: RestoreOptions): void {
  const { fleet, supervisor, mailboxes, permissions, quotas } = options;
  const wallMs = Date.now();
  const delays = startDelays(agents, wallMs, STARTS_PER_SECOND);
  for (const [index, desired] of agents.entries()) {
    const { id, name, spec, authority } = desired;
    const nearest = spec.above.find((each) => options.agents.get(each) !== undefined) ?? 0;
    try {
      permissions.restore(id, nearest, authority.permissions);
      quotas.restore(id, nearest, authority.quotas);
    } catch (error) {
      // Rather not at all than with more than it had.
      permissions.release(id);
      options.log.error({ err: error, agent: id, name }, 'cannot start an agent of the last kernel again');
      fleet.remove(id)?.catch(() => {});
      continue;
    }
    mailboxes.open(id, { name, parentId: spec.parentId });
    for (const other of desired.names) if (other !== name) mailboxes.register(id, other);
    const agent = {
      ...newAgent(id, spec.parentId, pendingPlan(spec.request, name)),
      spawnedAt: spec.spawnedAt,
    };
    agent.restart.restore(desired.restart, { monotonicMs: performance.now(), wallMs });
    fleet.restored(agent);
    supervisor.restore(agent, Math.round(delays[index] as number), () => planAgain(desired, options));
  }
  supervisor.restored();
}

async function planAgain(
  { id, name, spec }: DesiredAgent,
  { fleet, launcher, sandboxing }: RestoreOptions,
): Promise<Plan> {
  const request = spawnRequest.safeParse(spec.request);
  if (!request.success) {
    throw new CloveError('DATA_CORRUPT', 'what is stored of it is not of its form', { cause: request.error });
  }
  return makePlan(request.data, {
    agentId: id,
    name,
    sandboxing,
    seed: spec.seed,
    stagingFolder: launcher.stagingFolderOf(id),
    socketPath: launcher.socketPathOf(id),
    sdkFolder: () => launcher.sdkFolder(),
    openMounts: (mounts) => launcher.openMounts(mounts),
    readScript: spec.isScriptKept ? () => fleet.readKeptScript(id) : null,
  });
}
