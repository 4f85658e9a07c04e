/**
 * A small process that outlives the bench by a moment: it is told which process groups the bench has started, and kills what
 * is left of them, and removes the bench's temporary folder, when the bench's end of the pipe closes, however the bench ended.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CloveError } from '../../errors/index.ts';
import { processStartTicks } from '../measure/proc.ts';
import type { ProcessGuard } from './runtime.ts';

export interface Guardian extends ProcessGuard {
  /** A folder that is removed with the rest. */
  addDirectory(path: string): void;
  /** Kills and removes what is left, and ends. */
  close(): Promise<void>;
}

/** @throws SETUP_FAILED when it cannot be started: without it a killed bench would leave its trials running */
export async function startGuardian(): Promise<Guardian> {
  const script = fileURLToPath(
    new URL(`../worker/guardian-host${extname(import.meta.filename)}`, import.meta.url),
  );
  // A session of its own: Ctrl-C in the terminal must not reach it.
  const child = spawn(process.execPath, [script], { stdio: ['pipe', 'ignore', 'inherit'], detached: true });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  try {
    await once(child, 'spawn');
  } catch (cause) {
    throw new CloveError('SETUP_FAILED', `cannot start a process: ${(cause as Error).message}`, { cause });
  }
  child.stdin.on('error', () => {});
  child.unref();
  return {
    add(pid) {
      const start = processStartTicks(pid);
      if (start !== null) child.stdin.write(`+${pid} ${start}\n`);
    },
    // Encoded: whatever a path holds, it is one line of ASCII.
    addDirectory: (path) => void child.stdin.write(`d${encodeURIComponent(path)}\n`),
    remove: (pid) => void child.stdin.write(`-${pid}\n`),
    close() {
      child.ref();
      child.stdin.end();
      return ended;
    },
  };
}
