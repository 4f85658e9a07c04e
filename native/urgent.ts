// Threads that answer calls run before all others, as long as they have little to do (addon/urgent.cc).
import { loadAddon } from './load.ts';

interface Face {
  join(): void;
  leave(): void;
  start(): boolean;
  stop(): void;
}

/**
 * JavaScript's thread and those of wire servers get a real-time policy, which whichever of them keeps its processor busy loses again; none
 * where this process may not (no CAP_SYS_NICE) or was started with a priority of its own. For a process that is a kernel and nothing
 * else. Returns how to stop.
 */
export function serveUrgently(): () => void {
  const { urgent } = loadAddon() as unknown as { readonly urgent: Face };
  urgent.join();
  urgent.start();
  return () => {
    urgent.stop();
    urgent.leave();
  };
}
