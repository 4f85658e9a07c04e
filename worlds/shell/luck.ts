import { AsyncLocalStorage } from 'node:async_hooks';

const draws = new AsyncLocalStorage<() => number>();
let isShared = false;

/**
 * `$RANDOM`, and `rand` of awk, come from `Math.random` wherever in a script they stand, and the shell asks nobody else. So what is called
 * within `work`, and only that, draws from the given stream; everybody else in this process has the host's luck as before.
 */
export function withLuck<Result>(draw: () => number, work: () => Promise<Result>): Promise<Result> {
  if (!isShared) {
    isShared = true;
    const hosts = Math.random;
    Math.random = () => draws.getStore()?.() ?? hosts();
  }
  return draws.run(draw, work);
}
