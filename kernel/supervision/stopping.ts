import { CloveError } from '../../errors/index.ts';
import type { Life } from '../agents/life.ts';

/** Resolves when the agent has ended for good. @throws TIMEOUT, CANCELLED */
export function endOf(life: Life, timeoutMs: number | null, signal: AbortSignal): Promise<void> {
  return within(life.end.promise, `agent ${life.agent.name} has not ended`, timeoutMs, signal);
}

/** Resolves when the agent is ready. @throws TIMEOUT, CANCELLED, CONFLICT when it has ended for good */
export async function readinessOf(life: Life, timeoutMs: number | null, signal: AbortSignal): Promise<void> {
  const { agent, end, waitingForReady } = life;
  if (agent.ready) return;
  const ready = Promise.withResolvers<void>();
  waitingForReady.push(ready.resolve);
  void end.promise.then(() => ready.reject(new CloveError('CONFLICT', `agent ${agent.name} has ended`)));
  try {
    await within(ready.promise, `agent ${agent.name} is not ready`, timeoutMs, signal);
  } finally {
    const at = waitingForReady.indexOf(ready.resolve);
    if (at >= 0) waitingForReady.splice(at, 1);
  }
}

async function within(
  what: Promise<void>,
  otherwise: string,
  timeoutMs: number | null,
  signal: AbortSignal,
): Promise<void> {
  // Told apart below from what comes later and nobody waits for.
  what.catch(() => {});
  if (signal.aborted) throw new CloveError('CANCELLED', 'the wait was cancelled');
  const cut = Promise.withResolvers<never>();
  const onAbort = () => cut.reject(new CloveError('CANCELLED', 'the wait was cancelled'));
  const onTimeout = () => cut.reject(new CloveError('TIMEOUT', otherwise));
  const timer = timeoutMs === null ? undefined : setTimeout(onTimeout, timeoutMs);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([what, cut.promise]);
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
