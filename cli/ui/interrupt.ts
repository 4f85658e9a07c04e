import { EXIT } from '../exit-codes.ts';
import type { Terminal } from './terminal.ts';

/**
 * Runs `work` with a signal that the first Ctrl-C (or SIGTERM) aborts: it should stop cleanly then. The second ends the
 * process at once; sandboxes die with it by their lifeline.
 */
export async function interruptible<T>(
  terminal: Terminal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(EXIT.interrupted);
    terminal.note('stopping; once more to stop at once');
    controller.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    return await work(controller.signal);
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}
