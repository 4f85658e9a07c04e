import { writeSync } from 'node:fs';
import { errorToData, isCloveError } from '../errors/index.ts';
import { openGroups } from '../native/index.ts';
import { serveUrgently } from '../native/urgent.ts';
import { cgroupParentOf } from './boot.ts';
import { createKernel, type KernelExtensions, type RunningKernel } from './kernel.ts';
import { keepMemoryTrimmed } from './memory-keeper.ts';
import type { UserKernelOptions } from './options.ts';

/** Told to whoever started the daemon, as one line of JSON, once. */
export type Readiness =
  | { readonly ready: true; readonly socket: string; readonly pid: number; readonly boot: string }
  | { readonly ready: false; readonly error: ReturnType<typeof errorToData> };

export interface DaemonOptions extends UserKernelOptions {
  /** Where the readiness line goes; default stdout. */
  readonly readyFd?: number;
}

/** Exit codes: 0 = stopped as told, 1 = could not start, 130 = interrupted a second time while it stopped. */
export async function runDaemon(
  { readyFd = 1, ...options }: DaemonOptions,
  extensions: KernelExtensions = {},
): Promise<number> {
  const stop = Promise.withResolvers<void>();
  let interrupts = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    // Who presses Ctrl-C again does not want to wait; a service manager that repeats itself does. The lifeline takes the agents along,
    // whatever state this process is in.
    if (signal === 'SIGINT') interrupts += 1;
    if (interrupts > 1) process.exit(130);
    stop.resolve();
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, onSignal);
  let running: RunningKernel;
  try {
    running = await createKernel(options, extensions);
  } catch (error) {
    announce(readyFd, { ready: false, error: errorToData(error) });
    if (!isCloveError(error)) throw error;
    return 1;
  }
  announce(readyFd, { ready: true, socket: running.socketPath, pid: process.pid, boot: running.bootId });
  const stopTrimming = keepMemoryTrimmed();
  // Where Linux was built with CONFIG_RT_GROUP_SCHED, it moves no thread with a real-time policy into a group, so not our process out of
  // the group whose children are to have limits of cpu: limits come first. In such a group it then refuses us the policy.
  await openGroups(cgroupParentOf(running.bootId));
  const stopUrgency = serveUrgently();
  await stop.promise;
  stopUrgency();
  stopTrimming();
  await running.close();
  return 0;
}

function announce(fd: number, readiness: Readiness): void {
  try {
    writeSync(fd, `${JSON.stringify(readiness)}\n`);
  } catch (error) {
    // Nobody listens any more; that is no reason to stop.
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
  }
}
