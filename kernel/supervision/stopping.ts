import { CloveError } from '../../errors/index.ts';
import type { Life } from '../agents/life.ts';

/** Resolves when the agent has ended for good. @throws TIMEOUT, CANCELLED */
export async function endOf(
  { agent, end }: Pick<Life, 'agent' | 'end'>,
  timeoutMs: number | null,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) throw new CloveError('CANCELLED', 'the wait was cancelled');
  const cut = Promise.withResolvers<never>();
  const onAbort = () => cut.reject(new CloveError('CANCELLED', 'the wait was cancelled'));
  const onTimeout = () => cut.reject(new CloveError('TIMEOUT', `agent ${agent.name} has not ended`));
  const timer = timeoutMs === null ? undefined : setTimeout(onTimeout, timeoutMs);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([end.promise, cut.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Ends agents wave by wave: the next when all of one have ended. One that does not end holds up the others no longer than
 * `patienceMs`, asked for each wave; absent = for ever.
 */
export async function endInWaves(
  waves: readonly (readonly number[])[],
  end: (id: number) => Promise<void>,
  patienceMs?: () => number,
): Promise<void> {
  const all: Promise<unknown>[] = [];
  for (const wave of waves) {
    const ended = Promise.all(wave.map((id) => end(id)));
    // Looked at below, with those of the other waves.
    ended.catch(() => {});
    all.push(ended);
    if (patienceMs === undefined) {
      await ended;
      continue;
    }
    const cut = Promise.withResolvers<void>();
    const timer = setTimeout(() => cut.resolve(), Math.max(0, patienceMs()));
    await Promise.race([ended, cut.promise]);
    clearTimeout(timer);
  }
  await Promise.all(all);
}
