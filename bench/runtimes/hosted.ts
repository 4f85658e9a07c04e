/**
 * Runtimes `thread`, `sequential` and `python-pool`: one host process runs many trials. What ends the host ends every trial in it; the host is
 * then started again, and the loss is counted.
 */
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { CloveError, errorToData } from '../../errors/index.ts';
import { familyBytes, machineMemory, peakResidentBytes, residentBytes } from '../measure/proc.ts';
import { monotonicMs } from '../worker/execute.ts';
import type { FromHost, ToHost } from '../worker/host-messages.ts';
import { killGroup, LEAK_BEYOND_LIMIT_BYTES, startPython, startWorker, tailOf, workerOf } from './child.ts';
import { emptyUsage, infrastructureEnding } from './ending.ts';
import {
  blame,
  describeEnd,
  endError,
  HOST_MEMORY_SHARE,
  type Host,
  lostEnding,
  type Pending,
  reportEnding,
} from './hosted-endings.ts';
import type { AttemptEnding, AttemptRequest, Runtime, RuntimeContext } from './runtime.ts';

const WATCH_MS = 100;
/** A thread that does not end when told to takes its host with it after this long. */
const ABORT_GRACE_MS = 5_000;

export async function createHostedRuntime(
  name: 'thread' | 'sequential' | 'python-pool',
  context: RuntimeContext,
): Promise<Runtime> {
  const memoryGuardBytes = (machineMemory()?.totalBytes ?? Number.POSITIVE_INFINITY) * HOST_MEMORY_SHARE;
  // Its trials run in processes of their own, which share what they were forked with.
  const isTree = name === 'python-pool';
  const memoryOf = (pid: number) => (isTree ? familyBytes(pid) : residentBytes(pid));
  let host: Host | null = null;
  let closing = false;
  let nextId = 1;

  function startHost(): Host {
    const child = startChild(name, context);
    const pending = new Map<number, Pending>();
    let settleReady: { resolve(): void; reject(error: unknown): void } | undefined;
    const ready = new Promise<void>((resolve, reject) => {
      settleReady = { resolve, reject };
    });
    ready.catch(() => {});
    const started: Host = {
      child,
      ready,
      pending,
      logTail: tailOf(child.stdout, child.stderr),
      cause: null,
      peakBytes: 0,
    };
    child.on('message', (message: FromHost) => {
      if (message.kind === 'ready') settleReady?.resolve();
      else onAnswer(started, message);
    });
    readAnnouncements(started);
    const watch = setInterval(() => watchMemory(started), WATCH_MS);
    child.once('error', (error) => settleReady?.reject(error));
    child.once('exit', () => killGroup(child));
    child.once('close', (exitCode: number | null, signal: string | null) => {
      clearInterval(watch);
      if (host === started) host = null;
      settleReady?.reject(
        new CloveError('INTERNAL', `the host process ended while starting (${signal ?? exitCode})`, {
          details: { log: started.logTail() },
        }),
      );
      onHostEnd(started, exitCode, signal);
    });
    return started;
  }

  function watchMemory(watched: Host): void {
    const pid = watched.child.pid;
    if (pid === undefined) return;
    const bytes = memoryOf(pid);
    watched.peakBytes = Math.max(watched.peakBytes, isTree ? (bytes ?? 0) : (peakResidentBytes(pid) ?? 0));
    if ((bytes ?? 0) <= memoryGuardBytes) return;
    watched.cause ??= { kind: 'memory' };
    killGroup(watched.child);
  }

  function onAnswer(from: Host, message: Exclude<FromHost, { kind: 'ready' }>): void {
    const pending = from.pending.get(message.id);
    if (pending === undefined) return;
    from.pending.delete(message.id);
    const endedAtMs = monotonicMs();
    if (message.kind === 'report') pending.finish(reportEnding(from, pending, message.report, endedAtMs));
    else pending.finish(lostEnding(from, pending, message, endedAtMs));
  }

  function onHostEnd(ended: Host, exitCode: number | null, signal: string | null): void {
    const { cause } = ended;
    if (!closing && cause?.kind !== 'interrupted')
      context.onHostCrash(describeEnd(cause, exitCode, signal, ended.pending.size));
    const ends = blame(ended.pending, cause);
    for (const [id, pending] of ended.pending) {
      const end = ends.get(id) ?? 'collateral';
      const wallMs = monotonicMs() - pending.startedAtMs;
      pending.finish({
        end,
        exitCode,
        signal,
        error: endError(end, wallMs, ended.pending.size, signal),
        usage: {
          ...emptyUsage(wallMs),
          memoryPeakBytes: ended.peakBytes || null,
          memorySource: ended.peakBytes ? 'shared' : null,
        },
        logTail: ended.logTail(),
        result: null,
      });
    }
    ended.pending.clear();
  }

  async function start(request: AttemptRequest): Promise<AttemptEnding> {
    const startedAtMs = monotonicMs();
    host ??= startHost();
    const chosen = host;
    try {
      await chosen.ready;
    } catch (error) {
      return infrastructureEnding(error, monotonicMs() - startedAtMs);
    }
    const id = nextId++;
    return await new Promise<AttemptEnding>((resolve) => {
      const timers: NodeJS.Timeout[] = [];
      const onAbort = () => {
        chosen.cause ??= { kind: 'interrupted' };
        killGroup(chosen.child);
      };
      const pending: Pending = {
        request,
        startedAtMs,
        announced: false,
        timedOut: false,
        finish(ending) {
          for (const timer of timers) clearTimeout(timer);
          request.signal.removeEventListener('abort', onAbort);
          resolve(ending);
        },
      };
      const endHost = () => {
        chosen.cause ??= { kind: 'timeout', id };
        killGroup(chosen.child);
      };
      const onTimeout = () => {
        pending.timedOut = true;
        if (name !== 'thread') return endHost();
        send(chosen, { kind: 'abort', id });
        timers.push(setTimeout(endHost, ABORT_GRACE_MS));
      };
      chosen.pending.set(id, pending);
      timers.push(setTimeout(onTimeout, context.limits.timeoutMs));
      request.signal.addEventListener('abort', onAbort, { once: true });
      if (request.signal.aborted) onAbort();
      send(chosen, {
        kind: 'run',
        id,
        order: {
          worker: workerOf(context),
          trial: request.trial,
          attempt: request.attempt,
          fault: request.fault,
          leakCapBytes: context.limits.memoryBytes + LEAK_BEYOND_LIMIT_BYTES,
        },
      });
      // It may have ended between being ready and now; its 'close' then came before this attempt was known to it.
      if (host !== chosen) onHostEnd(chosen, chosen.child.exitCode, chosen.child.signalCode);
    });
  }

  host = startHost();
  await host.ready;
  return {
    name,
    isolation: [],
    start: (request) => start(request).catch((error) => infrastructureEnding(errorToData(error), 0)),
    memoryBytes: () => (host?.child.pid === undefined ? 0 : memoryOf(host.child.pid)),
    async close() {
      closing = true;
      const last = host;
      if (last === null) return;
      const ended = new Promise<void>((resolve) => last.child.once('close', () => resolve()));
      killGroup(last.child);
      await ended;
    },
  };
}

function startChild(name: 'thread' | 'sequential' | 'python-pool', context: RuntimeContext): ChildProcess {
  const places = String(context.parallel);
  if (name === 'thread') return startWorker('thread-host', [places], HOST_STDIO, context);
  if (name === 'sequential') return startWorker('sequential-host', [], HOST_STDIO, context);
  const { program } = context;
  if (program === undefined) throw new CloveError('USAGE', 'python-pool runs workers in Python alone');
  return startPython('pool_host', program, [places, ...program.preload], HOST_STDIO, context);
}

const HOST_STDIO: StdioOptions = ['ignore', 'pipe', 'pipe', 'pipe', 'ipc'];

function send(host: Host, message: ToHost): void {
  // A channel that is closed already is followed by 'close', which ends the attempt.
  if (host.child.connected) host.child.send(message, () => {});
}

/** Numbers of attempts that are about to meet their fault, one a line, written by the host with its last breath. */
function readAnnouncements(host: Host): void {
  let text = '';
  const stream = host.child.stdio[3] as NodeJS.ReadableStream | null | undefined;
  stream?.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) {
      const pending = host.pending.get(Number(line));
      if (pending !== undefined) pending.announced = true;
    }
  });
  stream?.on('error', () => {});
}
