import { z } from 'zod';
import { LEVELS } from '../permissions/grants.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { machineId, relayToken, relayUrl, type TunnelOptions } from '../tunnel/settings.ts';
import { defineSyscall, type SyscallContext } from './define.ts';
import { callerId } from './fields.ts';

/** As clients that leave something out may say it: null, or an empty text. */
const orNothing = <Schema extends z.ZodType>(schema: Schema) => z.union([z.literal(''), schema]).nullish();

const endpoint = {
  relay_url: orNothing(relayUrl).describe(
    'ws:// or wss://. Default: as TUNNEL_CONFIG or the kernel’s options have it.',
  ),
  machine_id: orNothing(machineId).describe('Who this kernel is to the relay. Default: the host’s name.'),
  token: orNothing(relayToken).describe('Never answered, never recorded.'),
};

interface Endpoint {
  readonly relay_url?: string | null | undefined;
  readonly machine_id?: string | null | undefined;
  readonly token?: string | null | undefined;
}

function changeOf({ relay_url, machine_id, token }: Endpoint): Partial<TunnelOptions> {
  return {
    ...(relay_url ? { relayUrl: relay_url } : {}),
    ...(machine_id ? { machineId: machine_id } : {}),
    ...(token ? { token } : {}),
  };
}

const states = z.enum(['disconnected', 'connecting', 'connected', 'reconnecting']);

const statusFields = {
  success: z.literal(true),
  connected: z.boolean(),
  state: states,
  relay_url: z.string().describe('Empty = none is known.'),
  machine_id: z.string(),
  remote_agent_count: z.int(),
  latency_ms: z.number().nullable().describe('Of the last ping; null = none was answered.'),
  connected_since: z.number().nullable().describe('Seconds since the epoch; null = not connected.'),
  losses: z.int().describe('Connections lost since TUNNEL_CONNECT.'),
  last_error: z.string().nullable(),
  next_attempt_ms: z.number().nullable().describe('Until it is tried again; null = it is not.'),
  refused_agents: z.int().describe('Remote agents for which there was no room.'),
};

function statusOf({ kernel }: SyscallContext) {
  const { status, agents, options } = kernel.tunnel;
  return {
    success: true as const,
    connected: status.state === 'connected',
    state: status.state,
    relay_url: status.target?.relayUrl ?? options.relayUrl ?? '',
    machine_id: status.target?.machineId ?? options.machineId ?? '',
    remote_agent_count: agents.length,
    latency_ms: status.latencyMs === null ? null : Math.round(status.latencyMs * 1000) / 1000,
    connected_since: status.connectedAt === null ? null : status.connectedAt / 1000,
    losses: status.losses,
    last_error: status.lastError,
    next_attempt_ms: status.nextAttemptMs === null ? null : Math.round(status.nextAttemptMs),
    refused_agents: status.refusedAgents,
  };
}

export const tunnelConnect = defineSyscall({
  opcode: OPCODES.TUNNEL_CONNECT,
  name: 'TUNNEL_CONNECT',
  malformed: 'invalid request',
  summary:
    'Connects the kernel to a relay and answers when it was let in. From then on a lost connection is set up again by itself. Nobody else waits meanwhile.',
  request: z.object(endpoint).prefault({}),
  response: z.object({ ...statusFields, tunnel_id: z.string().describe('As `machine_id`.') }),
  permission: 'tunnel.control',
  audit: 'SECURITY',
  replay: 'recorded',
  errorShape: { connected: false },
  async handle(request, context) {
    const { machineId: tunnelId } = await context.kernel.tunnel.connect(changeOf(request));
    return { ...statusOf(context), tunnel_id: tunnelId };
  },
});

export const tunnelDisconnect = defineSyscall({
  opcode: OPCODES.TUNNEL_DISCONNECT,
  name: 'TUNNEL_DISCONNECT',
  summary: 'Leaves the relay. What remote agents had here is gone with it.',
  request: z.unknown(),
  response: z.object({ success: z.literal(true), connected: z.literal(false) }),
  permission: 'tunnel.control',
  audit: 'SECURITY',
  replay: 'recorded',
  handle(_request, { kernel }) {
    kernel.tunnel.disconnect();
    return { success: true as const, connected: false as const };
  },
});

export const tunnelStatus = defineSyscall({
  opcode: OPCODES.TUNNEL_STATUS,
  name: 'TUNNEL_STATUS',
  summary: 'Whether there is a tunnel, to where, and what went wrong last.',
  request: z.unknown(),
  response: z.object(statusFields),
  permission: 'tunnel.read',
  audit: 'NETWORK',
  replay: 'recorded',
  errorShape: { connected: false },
  handle: (_request, context) => statusOf(context),
});

const remoteAgent = z.object({
  agent_id: callerId.describe('Of this kernel: what SET_PERMS, SET_QUOTA and SEND take.'),
  name: z
    .string()
    .describe('As the relay calls it. SEND takes the name it has here, too: `registered_name`.'),
  agent_name: z.string().describe('As `name`.'),
  registered_name: z.string(),
  relay_agent_id: z.int(),
  connected_at: z.string().describe('ISO 8601.'),
  level: z.string().describe('Of its permissions.'),
  calls: z.int(),
});

export const tunnelListRemotes = defineSyscall({
  opcode: OPCODES.TUNNEL_LIST_REMOTES,
  name: 'TUNNEL_LIST_REMOTES',
  summary: 'Agents that are connected through the relay.',
  request: z.unknown(),
  response: z.object({
    success: z.literal(true),
    agents: z.array(remoteAgent),
    remotes: z.array(remoteAgent).describe('As `agents`.'),
    count: z.int(),
  }),
  permission: 'tunnel.read',
  audit: 'NETWORK',
  replay: 'recorded',
  errorShape: { agents: [], remotes: [], count: 0 },
  handle(_request, { kernel }) {
    const agents = kernel.tunnel.agents.map(({ id, name, relayId, connectedAt, calls }) => ({
      agent_id: id,
      name,
      agent_name: name,
      registered_name: kernel.mailboxes.nameOf(id),
      relay_agent_id: relayId,
      connected_at: new Date(connectedAt).toISOString(),
      level: kernel.permissions.grantsOf({ id, kind: 'remote' }).level,
      calls,
    }));
    return { success: true as const, agents, remotes: agents, count: agents.length };
  },
});

export const tunnelConfig = defineSyscall({
  opcode: OPCODES.TUNNEL_CONFIG,
  name: 'TUNNEL_CONFIG',
  malformed: 'invalid request',
  summary:
    'Defaults of TUNNEL_CONNECT, and what agents that come through it are given. Kept for kernels after this one, whose own flags for the relay stand above it; a tunnel that stands stays as it is.',
  request: z
    .object({
      ...endpoint,
      reconnect_interval: z
        .number()
        .min(0.001)
        .max(3600)
        .nullish()
        .describe(
          'Seconds, 5 at first. A pause is drawn from 0 to this, then to twice as much, up to a minute.',
        ),
      remote_level: z
        .enum(LEVELS)
        .nullish()
        .describe(
          'Permissions of remote agents that come from now on, `minimal` at first. SET_PERMS changes those of one.',
        ),
      max_remotes: z.int().min(1).max(10_000).nullish(),
      remote_syscalls_per_second: z.int().min(1).max(1_000_000).nullish(),
    })
    .prefault({}),
  response: z.object({
    success: z.literal(true),
    relay_url: z.string(),
    machine_id: z.string(),
    has_token: z.boolean(),
    reconnect_interval: z.number(),
    remote_level: z.enum(LEVELS),
    max_remotes: z.int(),
    remote_syscalls_per_second: z.int(),
  }),
  permission: 'tunnel.control',
  audit: 'SECURITY',
  replay: 'recorded',
  async handle(request, { kernel }) {
    const { reconnect_interval, remote_level, max_remotes, remote_syscalls_per_second } = request;
    const options = await kernel.tunnel.configure({
      ...changeOf(request),
      ...(reconnect_interval == null ? {} : { reconnectMs: reconnect_interval * 1000 }),
      ...(remote_level == null ? {} : { remoteLevel: remote_level }),
      ...(max_remotes == null ? {} : { maxRemotes: max_remotes }),
      ...(remote_syscalls_per_second == null ? {} : { remoteSyscallsPerSecond: remote_syscalls_per_second }),
    });
    return {
      success: true as const,
      relay_url: options.relayUrl ?? '',
      machine_id: options.machineId ?? '',
      has_token: options.token !== null,
      reconnect_interval: options.reconnectMs / 1000,
      remote_level: options.remoteLevel,
      max_remotes: options.maxRemotes,
      remote_syscalls_per_second: options.remoteSyscallsPerSecond,
    };
  },
});

export const tunnelSyscalls = [
  tunnelConnect,
  tunnelDisconnect,
  tunnelStatus,
  tunnelListRemotes,
  tunnelConfig,
] as const;
