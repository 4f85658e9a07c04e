import { existsSync, lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { CloveError } from '../errors/index.ts';
import type { LayerReport, Sandbox, SandboxExit } from '../native/types.ts';
import type { Attachment } from './agents/attachment.ts';
import { makePlan } from './agents/plan.ts';
import { type SpawnRequest, spawnRequest } from './agents/spawn-request.ts';
import { createKernel, type Kernel } from './kernel.ts';
import { lockDataDirectory } from './locks.ts';
import type { UserKernelOptions } from './options.ts';

export interface ForegroundOptions {
  /** As in SPAWN: command, limits, isolation, mounts, timeout_ms … */
  readonly request: z.input<typeof spawnRequest>;
  readonly kernel?: Pick<UserKernelOptions, 'sandbox' | 'logLevel'>;
  /** Output as it comes, in whole chunks; a promise holds the command back until it is resolved. */
  onOutput(stream: 'stdout' | 'stderr', chunk: Buffer): void | Promise<void>;
  /** Read by the command as its standard input. */
  readonly stdin: NodeJS.ReadableStream | null;
  readonly signal?: AbortSignal;
  /** The world the command runs in, made when the kernel is there. */
  readonly world?: (place: ForegroundPlace) => Promise<ForegroundWorld>;
}

export interface ForegroundPlace {
  readonly kernel: Kernel;
  /** Private to this command; removed with everything in it. */
  readonly folder: string;
}

export interface ForegroundWorld {
  readonly attachment: Attachment;
  /** The command runs. */
  started?(sandbox: Sandbox): void;
  /** It has ended, and the world is as it left it. */
  ended(): Promise<void>;
  close(): Promise<void>;
}

export interface ForegroundResult {
  readonly exit: SandboxExit;
  readonly layers: readonly LayerReport[];
}

/**
 * One command in one sandbox, under a kernel made for it, with its output passed on whole and in order per stream.
 * Aborting kills the tree. @throws BAD_REQUEST, SANDBOX_UNAVAILABLE, EXEC_FAILED, SETUP_FAILED
 */
export async function runForeground(options: ForegroundOptions): Promise<ForegroundResult> {
  const request = parseRequest(options.request);
  clearAbandonedFolders();
  const folder = mkdtempSync(path.join(tmpdir(), FOLDER_PREFIX));
  try {
    const running = await createKernel({
      ...options.kernel,
      socketPath: path.join(folder, 'clove.sock'),
      dataDirectory: path.join(folder, 'data'),
    });
    try {
      const { launcher } = running.kernel;
      const plan = await makePlan(request, {
        agentId: 0,
        name: 'run',
        sandboxing: options.kernel?.sandbox ?? 'required',
        stagingFolder: path.join(folder, 'staging'),
        socketPath: running.socketPath,
        sdkFolder: () => launcher.sdkFolder(),
        openMounts: (mounts) => launcher.openMounts(mounts),
      });
      const world = (await options.world?.({ kernel: running.kernel, folder })) ?? null;
      try {
        const launch = { ...plan.launch, stdin: '' };
        const sandbox = await launcher.launchCommand(launch, world?.attachment ?? null);
        world?.started?.(sandbox);
        const result = await follow(sandbox, plan.launch.timeoutMs, options);
        await world?.ended();
        return result;
      } finally {
        await world?.attachment.detach();
        await world?.close();
      }
    } finally {
      await running.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const FOLDER_PREFIX = 'clove-run-';
/** A younger folder may belong to a kernel that has not locked it yet. */
const ABANDONED_AFTER_MS = 60_000;

/** Folders of earlier commands whose process was killed before it could remove them. */
function clearAbandonedFolders(): void {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(FOLDER_PREFIX)) continue;
    const folder = path.join(tmpdir(), name);
    try {
      const { uid, mtimeMs } = lstatSync(folder);
      if (uid !== process.geteuid?.() || Date.now() - mtimeMs < ABANDONED_AFTER_MS) continue;
      const data = path.join(folder, 'data');
      const lock = existsSync(data) ? lockDataDirectory(data) : null;
      rmSync(folder, { recursive: true, force: true });
      lock?.release();
    } catch {
      // In use, or gone meanwhile.
    }
  }
}

type RunningCommand = Awaited<
  ReturnType<Awaited<ReturnType<typeof createKernel>>['kernel']['launcher']['launchCommand']>
>;

async function follow(
  sandbox: RunningCommand,
  timeoutMs: number | null,
  { onOutput, stdin, signal }: ForegroundOptions,
): Promise<ForegroundResult> {
  const outputs = Promise.all([
    passOn(sandbox.stdoutFd, (chunk) => onOutput('stdout', chunk)),
    passOn(sandbox.stderrFd, (chunk) => onOutput('stderr', chunk)),
  ]);
  const input = feed(sandbox.stdinFd, stdin);
  const timer = timeoutMs === null ? null : setTimeout(() => sandbox.kill('timeout'), timeoutMs);
  const onAbort = () => sandbox.kill('killed');
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  try {
    const exit = await sandbox.exited;
    await outputs;
    return { exit, layers: sandbox.layers };
  } finally {
    if (timer !== null) clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    input?.destroy();
  }
}

async function passOn(fd: number | null, take: (chunk: Buffer) => void | Promise<void>): Promise<void> {
  if (fd === null) return;
  const socket = new Socket({ fd, readable: true, writable: false });
  for await (const chunk of socket) await take(chunk as Buffer);
}

function feed(fd: number | null, from: NodeJS.ReadableStream | null): Socket | null {
  if (fd === null) return null;
  const socket = new Socket({ fd, readable: false, writable: true });
  // A command that does not read its input is no error.
  socket.on('error', () => socket.destroy());
  if (from === null) socket.end();
  else from.pipe(socket);
  return socket;
}

function parseRequest(request: z.input<typeof spawnRequest>): SpawnRequest {
  const parsed = spawnRequest.safeParse(request);
  if (parsed.success) return parsed.data;
  throw new CloveError('BAD_REQUEST', `cannot run this: ${z.prettifyError(parsed.error)}`);
}
