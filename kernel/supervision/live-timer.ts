const TICKS = 20;
const SHORTEST_TICK_MS = 5;
const LONGEST_TICK_MS = 1000;

/**
 * Calls `work` when this process has been alive for so long: time in which its event loop stood still counts as two ticks at most, so
 * that whoever answered meanwhile is heard before being judged. Returns what takes it back.
 */
export function afterLiveMs(timeoutMs: number, work: () => void): () => void {
  const tickMs = Math.min(Math.max(timeoutMs / TICKS, SHORTEST_TICK_MS), LONGEST_TICK_MS);
  let leftMs = timeoutMs;
  let lastMs = performance.now();
  let timer: NodeJS.Timeout;
  const next = (): void => {
    timer = setTimeout(
      () => {
        const now = performance.now();
        leftMs -= Math.min(now - lastMs, 2 * tickMs);
        lastMs = now;
        if (leftMs > 0) next();
        else work();
      },
      Math.min(tickMs, leftMs),
    );
  };
  next();
  return () => clearTimeout(timer);
}
