// Memory that was freed and that the C library keeps for later.
import { loadAddon } from './load.ts';

interface Face {
  kept(): number;
  trim(): Promise<void>;
}

function face(): Face {
  return (loadAddon() as unknown as { readonly memory: Face }).memory;
}

/** Bytes of this process that are free for its next allocations; 0 = it cannot be told (no glibc, or one before 2.33). */
export function keptMemoryBytes(): number {
  return face().kept();
}

/** Gives them back to the system, as far as they are whole pages; in a thread of its own. */
export function trimMemory(): Promise<void> {
  return face().trim();
}
