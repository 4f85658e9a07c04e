import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import type { Agent } from '../agents/agent.ts';
import { makePlan, type Plan } from '../agents/plan.ts';
import { type SpawnRequest, spawnRequest } from '../agents/spawn-request.ts';
import { readAndClose } from '../files/fd.ts';
import { openForCaller } from '../files/open.ts';
import { requestRefusal } from '../permissions/child-bounds.ts';
import { deny } from '../permissions/permissions.ts';
import { forbidden, refusalText } from '../permissions/refusal.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { liveAgent, target } from './agent-fields.ts';
import { defineSyscall, type SyscallContext } from './define.ts';
import { MAX_TIMER_MS } from './fields.ts';

const DEFAULT_DRAIN_MS = 5000;
const DEFAULT_READY_MS = 1000;
const { script, command, python, args, env, labels } = spawnRequest.shape;
/** What new code may bring along; limits, mounts and grants stay. */
const code = { script, command, python, args, env, labels };
const CODE_FIELDS = Object.keys(code) as (keyof typeof code)[];

export const reload = defineSyscall({
  opcode: OPCODES.RELOAD,
  name: 'RELOAD',
  summary:
    'Gives an agent new code under the same id, name, mailbox, state, limits and grants: ends the old incarnation, starts the new one, and goes back to the old code where that does not come up.',
  request: z.object({
    ...target,
    ...code,
    drain_ms: z
      .int()
      .min(0)
      .max(MAX_TIMER_MS)
      .nullish()
      .describe('Between SIGTERM and SIGKILL for the old incarnation; default 5000.'),
    ready_ms: z
      .int()
      .min(0)
      .max(MAX_TIMER_MS)
      .nullish()
      .describe('New code is up when it has lived so long; default 1000.'),
  }),
  response: z.object({
    success: z.literal(true),
    agent_id: z.int(),
    name: z.string(),
    pid: z.int().describe('On the host.'),
    reloaded: z.boolean().describe('false = the new code did not come up, and the old one runs again.'),
    rolled_back: z.boolean(),
    reason: z.string().nullable().describe('Why it did not come up.'),
    log_tail: z.string().describe('Its last output, where it did not come up. Untrusted text.'),
  }),
  permission: 'agents.control',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  errorShape: { reloaded: false, rolled_back: false },
  async handle(request, context) {
    const { kernel, caller } = context;
    const { supervisor, codeCopies, fleet } = kernel;
    const agent = liveAgent(kernel, request);
    const before = codeCopies.pinned(agent.id, agent.plan);
    const changes = Object.fromEntries(
      CODE_FIELDS.filter((field) => request[field] != null).map((field) => [field, request[field]]),
    );
    // Before anything ends: code that cannot even be found changes nothing.
    const { plan, script } = await planOf(context, agent, changes);
    const failure = await supervisor.reload(agent, {
      plan: plan.launch,
      before,
      drainMs: request.drain_ms ?? DEFAULT_DRAIN_MS,
      readyMs: request.ready_ms ?? DEFAULT_READY_MS,
      by: caller.id,
    });
    if (failure === null) {
      await codeCopies.keep(agent, plan.script).catch(() => codeCopies.release(agent.id));
      if (script !== null && fleet.has(agent.id)) await fleet.keepScript(agent.id, script);
      await fleet.reloaded(agent);
    }
    return {
      success: true as const,
      agent_id: agent.id,
      name: agent.name,
      pid: agent.pid,
      reloaded: failure === null,
      rolled_back: failure !== null,
      reason: failure?.reason ?? null,
      log_tail: failure?.logTail ?? '',
    };
  },
});

interface NewCode {
  readonly plan: Plan;
  /** A script of an agent, as it was read; null = it is none, or not a new one. */
  readonly script: Uint8Array | null;
}

async function planOf(
  context: SyscallContext,
  agent: Agent,
  changes: Partial<SpawnRequest>,
): Promise<NewCode> {
  const { kernel, caller } = context;
  const { launcher, options, codeCopies, fleet } = kernel;
  const current = agent.plan.request;
  if (current === null) throw new CloveError('CONFLICT', `agent ${agent.name} is ending`);
  const isScriptNew = changes.script !== undefined;
  const isCommandNew = changes.command !== undefined;
  if (isScriptNew && isCommandNew) {
    throw new CloveError('BAD_REQUEST', 'invalid request: either script or command');
  }
  const refusal = caller.kind !== 'operator' ? requestRefusal(changes) : null;
  if (refusal !== null) {
    const grants = kernel.permissions.grantsOf(caller);
    throw forbidden(deny(refusal, grants, agent.name), refusalText('RELOAD', refusal));
  }
  const request: SpawnRequest = {
    ...current,
    ...(isScriptNew ? { command: null } : {}),
    ...(isCommandNew ? { script: null } : {}),
    ...changes,
  };
  let script: Uint8Array | null = null;
  const read = async (file: string) => {
    if (!isScriptNew) return fleet.readKeptScript(agent.id);
    script = await readAndClose(await openForCaller(kernel, caller, file, 'read'));
    return script;
  };
  const isOfAgent = isScriptNew ? caller.kind !== 'operator' : agent.plan.isScriptOfAgent === true;
  const seed = agent.plan.sandbox.env.CLOVE_SEED;
  // A script of another agent that is not kept for the next kernel is where it was put: the same plan once more.
  if (isOfAgent && !isScriptNew && !fleet.has(agent.id)) {
    const launch = { ...agent.plan, request };
    return { plan: { launch, restart: agent.restart.options, script: null }, script: null };
  }
  const plan = await makePlan(request, {
    agentId: agent.id,
    name: agent.name,
    sandboxing: options.sandbox,
    ...(seed === undefined ? {} : { seed }),
    stagingFolder: codeCopies.nextFolder(agent.id),
    socketPath: launcher.socketPathOf(agent.id),
    sdkFolder: () => launcher.sdkFolder(),
    openMounts: (mounts) => launcher.openMounts(mounts),
    readScript: isOfAgent ? read : null,
  });
  return { plan, script };
}
