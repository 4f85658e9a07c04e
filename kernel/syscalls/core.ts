import { z } from 'zod';
import { PROTOCOL_VERSION } from '../protocol/constants.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { KERNEL_VERSION } from '../protocol/version.ts';
import { defineSyscall, PERMISSIONS } from './define.ts';
import { callerId } from './fields.ts';

export const noop = defineSyscall({
  opcode: OPCODES.NOOP,
  name: 'NOOP',
  summary: 'Answers with the bytes it was given. The wire server does so by itself.',
  request: z.unknown(),
  response: z.unknown(),
  permission: 'none',
  audit: 'SYSCALL',
  replay: 'deterministic',
  raw: true,
  handle: (request) => request,
});

export const exit = defineSyscall({
  opcode: OPCODES.EXIT,
  name: 'EXIT',
  summary: 'Answers `goodbye`. Nothing ends; closing the connection is up to the client.',
  request: z.unknown(),
  response: z.unknown(),
  permission: 'none',
  audit: 'SYSCALL',
  replay: 'deterministic',
  raw: true,
  handle: () => 'goodbye',
});

export const hello = defineSyscall({
  opcode: OPCODES.HELLO,
  name: 'HELLO',
  summary: 'Tells who answers, who the caller is to it, and what the caller may do.',
  request: z.unknown(),
  response: z.object({
    success: z.literal(true),
    protocol_version: z.int(),
    kernel_version: z.string(),
    version: z.string().describe('As `kernel_version`.'),
    features: z.record(z.string(), z.boolean()),
    capabilities: z.array(z.enum(PERMISSIONS)).describe('Permissions the caller holds.'),
    agent_id: callerId.describe('Id of the caller.'),
    agent_name: z.string().describe('Name of the caller; empty = it has none.'),
    uptime: z.number().describe('Of the kernel, seconds.'),
    pid: z.int().describe('Process id of the kernel; 0 to agents.'),
  }),
  permission: 'none',
  audit: 'SYSCALL',
  replay: 'recorded',
  handle(_request, { kernel, caller }) {
    return {
      success: true as const,
      protocol_version: PROTOCOL_VERSION,
      kernel_version: KERNEL_VERSION,
      version: KERNEL_VERSION,
      features: {
        llm_in_kernel: kernel.llm.provider !== null,
        sys_think_stub: false,
        async_default_exec_http: false,
        sandbox: kernel.options.sandbox !== 'off',
      },
      capabilities: kernel.permissions
        .list(caller, PERMISSIONS)
        .filter((permission) => permission !== 'none'),
      agent_id: caller.id,
      agent_name: kernel.mailboxes.nameOf(caller.id),
      uptime: (Date.now() - kernel.startedAt) / 1000,
      pid: caller.kind === 'operator' ? process.pid : 0,
    };
  },
});

export const coreSyscalls = [noop, exit, hello] as const;
