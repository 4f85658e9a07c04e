/** Runtime `process`: every attempt is a plain child process. No limits, no sandbox: what `child_process` gives anybody. */
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { errorToData } from '../../errors/index.ts';
import { peakResidentBytes, processCpuMs, residentBytes } from '../measure/proc.ts';
import { monotonicMs } from '../worker/execute.ts';
import type { AttemptOrder, AttemptReport } from '../worker/order.ts';
import { killGroup, LEAK_BEYOND_LIMIT_BYTES, startPython, startWorker, tailOf, workerOf } from './child.ts';
import { endingOf, infrastructureEnding } from './ending.ts';
import type { AttemptEnding, AttemptRequest, Runtime, RuntimeContext } from './runtime.ts';

/** What a process that is killed has used is read while it lives. */
const WATCH_MS = 100;

export function createProcessRuntime(context: RuntimeContext): Runtime {
  const live = new Set<number>();

  async function start(request: AttemptRequest): Promise<AttemptEnding> {
    const startedAtMs = monotonicMs();
    const stdio = ['pipe', 'pipe', 'pipe', 'pipe'] as const;
    const { program } = context;
    const child =
      program === undefined
        ? startWorker('process-host', [], [...stdio], context)
        : startPython('process_host', program, [], [...stdio], context);
    const pid = child.pid;
    if (pid === undefined) {
      const [error] = await once(child, 'error');
      return infrastructureEnding(error, monotonicMs() - startedAtMs);
    }
    live.add(pid);
    const [stdin, stdout, stderr, answer] = child.stdio as unknown as [
      Writable,
      Readable,
      Readable,
      Readable,
    ];
    const logTail = tailOf(stdout, stderr);
    const chunks: Buffer[] = [];
    answer.on('data', (chunk: Buffer) => chunks.push(chunk));
    for (const stream of [stdin, answer]) stream.on('error', () => {});
    const order: AttemptOrder = {
      worker: workerOf(context),
      trial: request.trial,
      attempt: request.attempt,
      fault: request.fault,
      leakCapBytes: context.limits.memoryBytes + LEAK_BEYOND_LIMIT_BYTES,
    };
    stdin.end(JSON.stringify(order));

    let stopped: 'timeout' | 'interrupted' | null = null;
    const stop = (why: 'timeout' | 'interrupted') => {
      stopped ??= why;
      killGroup(child);
    };
    const timer = setTimeout(() => stop('timeout'), context.limits.timeoutMs);
    const onAbort = () => stop('interrupted');
    request.signal.addEventListener('abort', onAbort, { once: true });
    if (request.signal.aborted) onAbort();
    let peakBytes: number | null = null;
    let cpuMs: number | null = null;
    const watch = setInterval(() => {
      peakBytes = peakResidentBytes(pid) ?? peakBytes;
      cpuMs = processCpuMs(pid) ?? cpuMs;
    }, WATCH_MS);

    // Whatever the worker itself has started goes with it.
    child.once('exit', () => killGroup(child));
    const [exitCode, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    clearTimeout(timer);
    clearInterval(watch);
    request.signal.removeEventListener('abort', onAbort);
    live.delete(pid);
    return endingOf({
      startedAtMs,
      endedAtMs: monotonicMs(),
      report: parseReport(chunks),
      stopped,
      oom: false,
      exitCode,
      signal,
      logTail: logTail(),
      observed: { cpuMs, memoryPeakBytes: peakBytes, memorySource: 'maxrss' },
    });
  }

  return {
    name: 'process',
    isolation: [],
    start: (request) => start(request).catch((error) => infrastructureEnding(errorToData(error), 0)),
    memoryBytes: () => [...live].reduce((sum, pid) => sum + (residentBytes(pid) ?? 0), 0),
    close: async () => {},
  };
}

function parseReport(chunks: readonly Buffer[]): AttemptReport | null {
  try {
    return chunks.length === 0 ? null : JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    // Cut off in the middle: the process died while it wrote, which is the same as no report.
    return null;
  }
}
