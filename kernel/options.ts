import os from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { CloveError } from '../errors/index.ts';
import { MAX_POOL_SIZE } from '../native/index.ts';
import { type LlmOptions, llmSchema, type UserLlmOptions } from './llm/options.ts';
import { DEFAULT_SOCKET_PATH } from './protocol/constants.ts';
import { type TelemetryOptions, telemetrySchema, type UserTelemetryOptions } from './telemetry/options.ts';
import { type TunnelOptions, tunnelSchema, type UserTunnelOptions } from './tunnel/settings.ts';

/** A unix socket's path must fit into sockaddr_un. */
const MAX_SOCKET_PATH_BYTES = 107;

const isRoot = process.geteuid?.() === 0;
const runtimeFolder = process.env.XDG_RUNTIME_DIR ?? path.join(os.tmpdir(), `clove-${process.geteuid?.()}`);

/** Where all kernels of this user keep what must not outlive a reboot; they find each other's locks there. */
export const DEFAULT_RUN_DIRECTORY = isRoot ? '/run/clove' : path.join(runtimeFolder, 'clove');
export const DEFAULT_DATA_DIRECTORY = isRoot
  ? '/var/lib/clove'
  : path.join(process.env.XDG_STATE_HOME ?? path.join(os.homedir(), '.local', 'state'), 'clove');

const schema = z.strictObject({
  socketPath: z.string().min(1).default(DEFAULT_SOCKET_PATH),
  dataDirectory: z.string().min(1).default(DEFAULT_DATA_DIRECTORY),
  runDirectory: z.string().min(1).default(DEFAULT_RUN_DIRECTORY),
  sandbox: z.enum(['required', 'reduced', 'least', 'off']).default('required'),
  sandboxPool: z.int().min(0).max(MAX_POOL_SIZE).default(4),
  logLevel: z.enum(['silent', 'error', 'warn', 'info', 'debug', 'trace']).default('warn'),
  operatorUids: z
    .array(
      z
        .int()
        .min(0)
        .max(2 ** 32 - 2),
    )
    .readonly()
    .default([]),
  maxAgents: z.int().min(1).max(4000).default(2000),
  maxConnections: z.int().min(1).max(100_000).default(1024),
  drainMs: z.int().min(0).max(600_000).default(5000),
  checkAnswers: z.boolean().default(false),
  onRestart: z.enum(['restart', 'forget']).default('restart'),
  auditOnFailure: z.enum(['stop', 'continue']).default('stop'),
  auditAnchorPath: z.string().min(1).nullable().default(null),
  llm: llmSchema.prefault({}),
  telemetry: telemetrySchema.prefault({}),
  tunnel: tunnelSchema.prefault({}),
});

/** Options of a kernel with their defaults filled in. */
export interface KernelOptions {
  /** Unix socket of the operator's clients. */
  readonly socketPath: string;
  /** Where the lock file and durable records live; made 0700. */
  readonly dataDirectory: string;
  /** Parent of the folder of this boot (agent sockets); made 0700. */
  readonly runDirectory: string;
  /**
   * 'required': an agent starts only with every layer; 'reduced': the walls must stand, and what else this machine cannot give (users and
   * limits of their own) may be missing; 'least': what a process can do to itself must hold, the walls may be missing too; 'off': agents run without isolation. What is missing is said in each report.
   */
  readonly sandbox: 'required' | 'reduced' | 'least' | 'off';
  /** Sandboxes that may wait, made, for agents to come; 0 = none. */
  readonly sandboxPool: number;
  readonly logLevel: 'silent' | 'error' | 'warn' | 'info' | 'debug' | 'trace';
  /** Users besides the kernel's own and root who may use the operator's socket; they hold every permission. */
  readonly operatorUids: readonly number[];
  readonly maxAgents: number;
  readonly maxConnections: number;
  /** How long close() lets agents end by themselves. ms */
  readonly drainMs: number;
  /** Check every answer against its schema before it leaves (tests). */
  readonly checkAnswers: boolean;
  /** What becomes of the agents that the last kernel on this data directory ran and that outlive it. */
  readonly onRestart: 'restart' | 'forget';
  /** When the audit log cannot be written: refuse what would have to be recorded, or go on and record the gap. */
  readonly auditOnFailure: 'stop' | 'continue';
  /** Where the head of the audit log is kept, best on another disk; null = in the data directory. */
  readonly auditAnchorPath: string | null;
  /** The model that agents may ask. */
  readonly llm: LlmOptions;
  readonly telemetry: TelemetryOptions;
  /** To a relay, through which agents elsewhere reach this kernel; nothing is connected by itself. */
  readonly tunnel: TunnelOptions;
}

export type UserKernelOptions = Partial<Omit<KernelOptions, 'llm' | 'telemetry' | 'tunnel'>> & {
  readonly llm?: UserLlmOptions;
  readonly telemetry?: UserTelemetryOptions;
  readonly tunnel?: UserTunnelOptions;
};

/** @throws CONFIG */
export function resolveOptions(user: UserKernelOptions): KernelOptions {
  const parsed = schema.safeParse(user);
  if (!parsed.success) throw new CloveError('CONFIG', `kernel options: ${z.prettifyError(parsed.error)}`);
  const { socketPath, dataDirectory, runDirectory, auditAnchorPath } = parsed.data;
  const options: KernelOptions = {
    ...parsed.data,
    socketPath: path.resolve(socketPath),
    dataDirectory: path.resolve(dataDirectory),
    runDirectory: path.resolve(runDirectory),
    auditAnchorPath: auditAnchorPath === null ? null : path.resolve(auditAnchorPath),
  };
  // "/boot-12345678/a2000000.sock" comes after the run directory.
  const longest = Math.max(
    Buffer.byteLength(options.socketPath),
    Buffer.byteLength(options.runDirectory) + 30,
  );
  if (longest > MAX_SOCKET_PATH_BYTES) {
    throw new CloveError('CONFIG', `paths of sockets would be longer than ${MAX_SOCKET_PATH_BYTES} bytes`, {
      hint: 'Choose shorter folders for the socket and the run directory.',
    });
  }
  return Object.freeze(options);
}
