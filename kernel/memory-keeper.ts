import { keptMemoryBytes, trimMemory } from '../native/memory.ts';

const CHECK_MS = 5000;
/** What the C library may keep of freed memory while little happens. */
const KEPT_BYTES = 32 * 2 ** 20;
/** Of one core, since the last look: while more happens, what was freed will soon be wanted again. */
const REST_SHARE = 0.25;

/**
 * After a burst the C library keeps most of what was freed: a kernel that rests would be several times as large as what it holds.
 * For a process that is a kernel and nothing else. Returns how to stop.
 */
export function keepMemoryTrimmed(): () => void {
  let before = process.cpuUsage();
  let isTrimming = false;
  const timer = setInterval(() => {
    const { user, system } = process.cpuUsage(before);
    before = process.cpuUsage();
    if (isTrimming || (user + system) / 1000 > CHECK_MS * REST_SHARE || keptMemoryBytes() < KEPT_BYTES)
      return;
    isTrimming = true;
    void trimMemory().then(() => {
      isTrimming = false;
    });
  }, CHECK_MS);
  timer.unref();
  return () => clearInterval(timer);
}
