import { CloveError } from '../../errors/index.ts';
import type { WorldTimer } from './types.ts';

/** Those who wait for a moment of virtual time. A sleeper, unlike a timer, is a reason to skip. */
export class Sleepers {
  readonly #wakeups = new Set<(error: CloveError) => void>();

  get size(): number {
    return this.#wakeups.size;
  }

  /** @throws CANCELLED */
  sleep(arm: (fire: () => void) => WorldTimer, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(cancelled(signal));
        return;
      }
      const end = (): void => {
        this.#wakeups.delete(fail);
        signal?.removeEventListener('abort', abort);
      };
      const timer = arm(() => {
        end();
        resolve();
      });
      const fail = (error: CloveError): void => {
        end();
        timer.cancel();
        reject(error);
      };
      const abort = (): void => fail(cancelled(signal));
      this.#wakeups.add(fail);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  close(): void {
    for (const fail of [...this.#wakeups])
      fail(new CloveError('CANCELLED', 'the clock of the world was closed while somebody slept'));
  }
}

function cancelled(signal: AbortSignal | undefined): CloveError {
  return new CloveError('CANCELLED', 'the sleep was cancelled', { cause: signal?.reason });
}
