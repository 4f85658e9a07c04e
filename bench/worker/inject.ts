import { isMainThread } from 'node:worker_threads';
import type { FaultDraw } from '../faults.ts';

const STEP_BYTES = 16 * 1024 * 1024;

/**
 * Real faults, in the process (or thread) of the trial: a crash aborts the process, a hang never ends, a leak allocates and
 * touches memory until something stops it. Returns only after a leak that nothing stopped.
 */
export function injectFault(fault: FaultDraw, leakCapBytes: number, log: (line: string) => void): void {
  log(`fault injection: ${fault.kind} ${fault.moment} the computation`);
  if (fault.kind === 'crash') crash();
  if (fault.kind === 'hang') for (;;);
  const held: Buffer[] = [];
  for (let bytes = 0; bytes < leakCapBytes; bytes += STEP_BYTES) held.push(Buffer.alloc(STEP_BYTES, 1));
  log(`fault injection: nothing stopped the leak at ${leakCapBytes} bytes (${held.length} blocks); going on`);
}

function crash(): void {
  // process.abort() does not exist in a worker thread; the same signal from there ends the process as surely.
  if (isMainThread) process.abort();
  process.kill(process.pid, 'SIGABRT');
  for (;;);
}
