import { CloveError } from '../../errors/index.ts';
import type { ClockMode } from './types.ts';

/** What holds for every clock of a world, whoever keeps its time. */

/** @throws BAD_REQUEST for a clock that is not moved by hand, or not so */
export function assertMovedBy(ms: number, mode: ClockMode): void {
  if (mode === 'real')
    throw new CloveError('BAD_REQUEST', 'a clock of mode real cannot be moved', {
      hint: 'Give the world a clock of mode step, skip or scale.',
    });
  if (!(ms >= 0) || !Number.isFinite(ms))
    throw new CloveError('BAD_REQUEST', `time moves forward by a finite number of milliseconds: ${ms}`);
}

/** @throws CANCELLED, BAD_REQUEST */
export function assertTimer(atMonotonicMs: number, isClosed: boolean): void {
  if (isClosed) throw new CloveError('CANCELLED', 'the clock of the world is closed');
  if (!Number.isFinite(atMonotonicMs))
    throw new CloveError('BAD_REQUEST', `a timer needs a finite time: ${atMonotonicMs}`);
}

/** Time stands until this is disposed of, with the lease that says why. */
export function standing(lease: Disposable, stand: (by: 1 | -1) => void): Disposable {
  stand(1);
  let stands = true;
  return {
    [Symbol.dispose]: () => {
      if (!stands) return;
      stands = false;
      stand(-1);
      lease[Symbol.dispose]();
    },
  };
}
