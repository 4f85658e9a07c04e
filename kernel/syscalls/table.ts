import type { z } from 'zod';
import { OPCODES, type SyscallName } from '../protocol/opcodes.ts';
import { agentSyscalls } from './agents.ts';
import { asyncSyscalls } from './async.ts';
import { auditSyscalls } from './audit.ts';
import { coreSyscalls } from './core.ts';
import type { SyscallDefinition } from './define.ts';
import { eventSyscalls } from './events.ts';
import { execSyscalls } from './exec.ts';
import { fileSyscalls } from './files.ts';
import { httpSyscalls } from './http.ts';
import { ipcSyscalls } from './ipc.ts';
import { llmSyscalls } from './llm.ts';
import { metricsSyscalls } from './metrics.ts';
import { permissionSyscalls } from './permissions.ts';
import { recordingSyscalls } from './recording.ts';
import { stateSyscalls } from './state.ts';
import { supervisionSyscalls } from './supervision.ts';
import { taskSyscalls } from './tasks.ts';
import { tunnelSyscalls } from './tunnel.ts';
import { worldSyscalls } from './worlds.ts';

/** Every syscall there is. Each family file exports its definitions as one tuple. */
export const SYSCALLS = [
  ...coreSyscalls,
  ...fileSyscalls,
  ...execSyscalls,
  ...httpSyscalls,
  ...llmSyscalls,
  ...asyncSyscalls,
  ...agentSyscalls,
  ...supervisionSyscalls,
  ...ipcSyscalls,
  ...stateSyscalls,
  ...taskSyscalls,
  ...eventSyscalls,
  ...permissionSyscalls,
  ...auditSyscalls,
  ...recordingSyscalls,
  ...tunnelSyscalls,
  ...metricsSyscalls,
  ...worldSyscalls,
] as const;

export type AnySyscall = (typeof SYSCALLS)[number];
type Named<Name extends SyscallName> = Extract<AnySyscall, { readonly name: Name }>;
/** What a client sends. */
export type SyscallRequest<Name extends SyscallName> = z.input<Named<Name>['request']>;
/** What a client gets. */
export type SyscallResponse<Name extends SyscallName> = z.output<Named<Name>['response']>;

/** The table by opcode. A definition that is missing, doubled or misnumbered stops the kernel at start, not at a call. */
export const SYSCALL_BY_OPCODE: ReadonlyMap<number, SyscallDefinition> = indexByOpcode(SYSCALLS);

function indexByOpcode(definitions: readonly SyscallDefinition[]): ReadonlyMap<number, SyscallDefinition> {
  const byOpcode = new Map<number, SyscallDefinition>();
  for (const definition of definitions) {
    if (OPCODES[definition.name] !== definition.opcode) {
      throw new Error(`syscall ${definition.name} has opcode ${definition.opcode}, the map says otherwise`);
    }
    if (byOpcode.has(definition.opcode)) throw new Error(`two definitions of syscall ${definition.name}`);
    byOpcode.set(definition.opcode, definition);
  }
  for (const [name, opcode] of Object.entries(OPCODES)) {
    if (!byOpcode.has(opcode)) throw new Error(`syscall ${name} is not defined`);
  }
  return byOpcode;
}
