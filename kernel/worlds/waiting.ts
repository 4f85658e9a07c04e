import type { SyscallContext } from '../syscalls/define.ts';

/** Calls `fire` after so many ms, unless the returned function is called before. */
export type After = (ms: number, fire: () => void) => () => void;

/**
 * Waits as a caller does where it is: an agent in a world waits on the world's clock, and while it waits that clock may skip.
 * `run` is given the clock's timer; undefined = the real one.
 */
export async function waitingInWorld<T>(
  { kernel, caller }: SyscallContext,
  run: (after: After | undefined) => Promise<T>,
): Promise<T> {
  const world = caller.kind === 'agent' ? (kernel.worlds?.joinedBy(caller.id) ?? null) : null;
  if (world === null) return run(undefined);
  using _waits = world.waits(caller.id);
  return await run((ms, fire) => world.after(caller.id, ms, fire));
}
