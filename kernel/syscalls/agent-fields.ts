import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { LAYERS } from '../../native/types.ts';
import type { Agent } from '../agents/agent.ts';
import type { Kernel } from '../kernel.ts';

/** Which agent: id wins over name; 0 and "" mean not given. */
export const target = {
  id: z.int().min(0).nullish(),
  agent_id: z.int().min(0).nullish().describe('As `id`.'),
  name: z.string().nullish(),
};

interface Target {
  readonly id?: number | null | undefined;
  readonly agent_id?: number | null | undefined;
  readonly name?: string | null | undefined;
}

function keyOf(request: Target): number | string {
  const key = request.id || request.agent_id || request.name || null;
  if (key === null) throw new CloveError('BAD_REQUEST', 'invalid request: id or name required');
  return key;
}

/** @throws NOT_FOUND, BAD_REQUEST */
export function liveAgent(kernel: Kernel, request: Target): Agent {
  const key = keyOf(request);
  const agent = typeof key === 'number' ? kernel.agents.get(key) : kernel.agents.byName(key);
  if (agent === undefined) throw new CloveError('NOT_FOUND', `agent not found: ${key}`);
  return agent;
}

/** Live or ended and not yet forgotten. */
export function knownAgent(kernel: Kernel, request: Target): Agent {
  const key = keyOf(request);
  const agent = kernel.agents.find(key);
  if (agent === undefined) throw new CloveError('NOT_FOUND', `agent not found: ${key}`);
  return agent;
}

export const layerReport = z.object({
  layer: z.enum(LAYERS),
  requested: z.boolean(),
  state: z.enum(['on', 'off', 'degraded', 'n/a']),
  how: z.string(),
  errno: z.string().nullable(),
  hint: z.string().nullable(),
});

export const isolationSummary = z.object({
  fully_isolated: z.boolean().describe('Every wall of the default profile stands.'),
  namespaces: z.record(z.string(), z.boolean()),
  cgroups: z.record(z.string(), z.boolean()),
  degraded_reason: z.string().optional(),
  on: z.int(),
  off: z.array(z.enum(LAYERS)).readonly(),
  degraded: z.array(z.enum(LAYERS)).readonly(),
});

export const usage = z.object({
  cpu_user_us: z.number(),
  cpu_system_us: z.number(),
  cpu_throttled_us: z.number(),
  memory_peak_bytes: z.number(),
  oom_kills: z.int(),
  pids_refused: z.int(),
  wall_us: z.number(),
});
