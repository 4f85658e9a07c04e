import { setImmediate as turnOfTheLoop } from 'node:timers/promises';

/** A pipe holds 64 KiB by default; many times that is in the loop's reach by then. */
const MAX_TURNS = 64;

export interface Draining {
  /** Resolves at the end of the output. */
  readonly ended: Promise<unknown>;
  readBytes(): number;
  /** Makes `ended` resolve. */
  giveUp(): void;
}

/**
 * Waits for the end of output whose writer is gone. Something in the background may hold the pipe open, so after `graceMs` no
 * more is waited for; but what is in the pipe is read first: when this process was held up, a timer is due before
 * the data that came long ago was seen.
 */
export async function drain({ ended, readBytes, giveUp }: Draining, graceMs: number): Promise<void> {
  let isOver = false;
  const end = ended.then(() => {
    isOver = true;
  });
  const grace = Promise.withResolvers<void>();
  const timer = setTimeout(grace.resolve, graceMs);
  await Promise.race([end, grace.promise]);
  clearTimeout(timer);
  for (let turn = 0; !isOver && turn < MAX_TURNS; turn += 1) {
    const before = readBytes();
    await turnOfTheLoop();
    await turnOfTheLoop();
    if (readBytes() === before) break;
  }
  if (!isOver) giveUp();
  await end;
}
