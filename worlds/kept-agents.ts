import type { Agent } from '../kernel/agents/agent.ts';
import { MAY_DEGRADE, WALLS } from '../kernel/agents/isolation.ts';
import { FIRST_CLIENT_ID } from '../kernel/identity.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { OPCODES } from '../kernel/protocol/opcodes.ts';
import type { AgentPast } from '../kernel/recording/past.ts';
import { SecretNames } from '../kernel/recording/secret-names.ts';
import type { KeptAgent } from '../kernel/worlds/host.ts';
import type { World } from './world.ts';

const secrets = new SecretNames();

const NO_STATE = 'it left no state and answers no checkpoint';

/** The agents of a world, with what it takes to start them again where they were. Values of secret variables stay behind. */
export function keptAgents(world: World, kernel: Kernel): KeptAgent[] {
  return world.members().flatMap(({ id, name }) => {
    const agent = kernel.agents.get(id);
    if (agent === undefined) return [];
    const { request, isScriptOfAgent } = agent.plan;
    const checkpoint = world.checkpoints.of(id);
    const shared = { name: agent.name || name, checkpoint, past: null };
    const lost = (reason: string): KeptAgent[] => [{ ...shared, request: null, withheld: [], reason }];
    if (request === null) return lost('it has ended');
    // Its rights were at most those of its parent, who is nobody in another world, and may be nobody here any more.
    if (agent.parentId !== 0 && agent.parentId < FIRST_CLIENT_ID) return lost('another agent had started it');
    if (isScriptOfAgent === true) return lost('its script was another agent’s file');
    const env = Object.entries(request.env ?? {});
    const withheld = env.map(([variable]) => variable).filter((variable) => secrets.has(variable));
    const kept = Object.fromEntries(env.filter(([variable]) => !withheld.includes(variable)));
    return [
      {
        ...shared,
        request: JSON.parse(JSON.stringify({ ...request, env: kept })) as Record<string, unknown>,
        withheld,
        reason: checkpoint === null ? NO_STATE : null,
      },
    ];
  });
}

/**
 * Of a snapshot’s agents that left nothing to come back with: what they did, where that was recorded and does no harm when it is lived
 * through again. The moment is that of the call; null = there is nobody to be asked about. `isFromStart`: an agent was in the world before
 * it ran.
 */
export function pastsOf(
  world: World,
  kernel: Kernel,
  isFromStart: (agentId: number) => boolean,
): ((agents: readonly KeptAgent[]) => Promise<KeptAgent[]>) | null {
  const members = world.members().flatMap(({ id }) => kernel.agents.get(id) ?? []);
  const idOf = new Map(members.map(({ id, name }) => [name, id]));
  const waits = new Map(members.map(({ id }) => [id, world.waitsUntilMs(id)]));
  const reached = new Map(members.map((agent) => [agent.id, hostOf(agent, isFromStart(agent.id))]));
  const read = kernel.recorder.pastsOf(members);
  if (read === null) return null;
  return async (agents) => {
    const isAsked = agents.some(({ reason }) => reason === NO_STATE);
    const pasts = isAsked ? await read() : new Map<number, AgentPast | string>();
    return agents.map((kept) => {
      const id = idOf.get(kept.name);
      if (kept.reason !== NO_STATE || id === undefined) return kept;
      const past = pasts.get(id) ?? 'nothing of it was recorded';
      const obstacle = typeof past === 'string' ? past : (reached.get(id) ?? obstacleTo(world, kept, past));
      if (typeof past === 'string' || obstacle !== null)
        return { ...kept, reason: `${NO_STATE}, and what it did cannot be done again: ${obstacle}` };
      return { ...kept, past: withWaits(past, waits.get(id) ?? []), reason: null };
    });
  };
}

/** What of the host an agent could reach, by what its sandbox came to have, whatever was asked for. null = nothing. */
function hostOf({ sandbox, plan }: Agent, isFromStart: boolean): string | null {
  // What it did before was not the world's to answer.
  if (!isFromStart) return 'it had been started outside of the world';
  if (plan.request?.network === true) return 'it has the network of the host';
  const states = new Map(sandbox?.layers.map(({ layer, state }) => [layer, state]));
  const open = WALLS.filter((layer) => {
    const state = states.get(layer);
    return state !== 'on' && !(state === 'degraded' && MAY_DEGRADE.includes(layer));
  });
  return open.length === 0 ? null : `it reaches the host: its sandbox has no ${open.join(', ')}`;
}

/** What an agent did without a call to the kernel it does again, too: that must be of no account. null = it is. */
function obstacleTo(world: World, { request }: KeptAgent, { calls }: AgentPast): string | null {
  const { definition, form } = world.parts;
  if (form === 'mounted') return 'in a mounted world it acts without calls, and would do so twice';
  const mounts = Array.isArray(request?.mounts) ? (request.mounts as { readonly readonly?: unknown }[]) : [];
  if (mounts.some(({ readonly }) => readonly === false)) return 'it writes to folders of the host';
  const acts: readonly number[] = [OPCODES.WRITE, OPCODES.EXEC, OPCODES.DOWNLOAD];
  if (
    !(world.interceptsCommands && definition.files !== 'own') &&
    calls.some(({ opcode }) => acts.includes(opcode))
  )
    return 'it wrote files, or ran commands, that are not the world’s';
  return null;
}

/** Waits that were under way end when they would have. Both are in the order in which they began. */
function withWaits(past: AgentPast, untilMs: readonly number[]): AgentPast {
  const left = [...untilMs];
  const calls = past.calls.map((call) =>
    call.answer === null && call.opcode === OPCODES.WORLD_WAIT
      ? { ...call, until_ms: left.shift() ?? null }
      : call,
  );
  return { ...past, calls };
}
