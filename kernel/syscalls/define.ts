import type { z } from 'zod';
import type { Caller } from '../identity.ts';
import type { Kernel } from '../kernel.ts';
import type { SyscallName } from '../protocol/opcodes.ts';

/** What a caller must hold for a syscall; the operator holds all of them. */
export const PERMISSIONS = [
  'none',
  'agents.spawn',
  'agents.control',
  'agents.list',
  'agents.all',
  'ipc.send',
  'ipc.receive',
  'ipc.register',
  'state.read',
  'state.write',
  'tasks.create',
  'tasks.work',
  'tasks.read',
  'files.read',
  'files.write',
  'exec',
  'events.subscribe',
  'events.emit',
  'metrics.self',
  'metrics.all',
  'http',
  'think',
  'permissions.read',
  'permissions.set',
  'audit.read',
  'audit.configure',
  'recording.control',
  'worlds.use',
  'worlds.manage',
  'tunnel.read',
  'tunnel.control',
] as const;
export type Permission = (typeof PERMISSIONS)[number];

export const AUDIT_CATEGORIES = [
  'SECURITY',
  'AGENT_LIFECYCLE',
  'RESOURCE',
  'SYSCALL',
  'IPC',
  'STATE_STORE',
  'NETWORK',
  'WORLD',
] as const;
export type AuditCategory = (typeof AUDIT_CATEGORIES)[number];

/** What a handler is given besides its request. */
export interface SyscallContext {
  readonly kernel: Kernel;
  readonly caller: Caller;
  /** Aborted when the connection closes or the kernel stops: blocking calls end by it. */
  readonly signal: AbortSignal;
}

/**
 * One syscall, whole: dispatch, validation, permission check, audit, recording, docs, JSON schemas, the typed SDK and the
 * fuzz generators derive from this and from nothing else.
 */
export interface SyscallDefinition<
  Name extends SyscallName = SyscallName,
  Request extends z.ZodType = z.ZodType,
  Response extends z.ZodType = z.ZodType,
> {
  readonly opcode: number;
  readonly name: Name;
  /** One sentence for the reference. */
  readonly summary: string;
  readonly request: Request;
  readonly response: Response;
  readonly permission: Permission;
  readonly audit: AuditCategory;
  /** Of a request that goes on with one that was recorded: recorded as SYSCALL, so that it does not push others out. */
  continues?(request: z.output<Request>): boolean;
  /** deterministic: same inputs, same answer; recorded: the answer must come from the recording in a replay. */
  readonly replay: 'deterministic' | 'recorded';
  /** Members of a deterministic answer that differ from run to run all the same: a replay does not compare them. */
  readonly unstable?: readonly string[];
  /** Payloads that are not JSON (NOOP, EXIT): request and answer are raw bytes. */
  readonly raw?: boolean;
  /** Changes nothing: its answer does not wait for its record to be on disk, whatever permission it needs. */
  readonly readOnly?: boolean;
  /** Starts only when the earlier ordered requests of its connection have ended (effects on files). */
  readonly ordered?: boolean;
  /**
   * How the error of a payload that is not JSON begins; default "invalid request". Given, such a payload is an error also where
   * nothing needs to be sent; else it is as good as none there.
   */
  readonly malformed?: string;
  /** Fields added to an error answer so that existing clients find what they read (e.g. messages: []). */
  readonly errorShape?: Readonly<Record<string, unknown>>;
  handle(request: z.output<Request>, context: SyscallContext): z.input<Response> | Promise<z.input<Response>>;
}

export function defineSyscall<
  Name extends SyscallName,
  Request extends z.ZodType,
  Response extends z.ZodType,
>(definition: SyscallDefinition<Name, Request, Response>): SyscallDefinition<Name, Request, Response> {
  return Object.freeze(definition);
}
