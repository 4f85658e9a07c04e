import { CloveError } from '../errors/index.ts';
import { begin, sandboxFace } from './sandbox-native.ts';
import { toNativeLaunch } from './sandbox-spec.ts';
import type { SandboxPoolState, SandboxSpec } from './types.ts';

/** Each holds some hundred KiB of the kernel's memory, a network namespace and a few descriptors. */
export const MAX_POOL_SIZE = 64;

/**
 * Lets at most `size` sandboxes below a parent group wait for their agents; 0 = none, and resolves when none is left.
 * Launches with that parent take one when they leave out no layer, have the default profile, a network of their own and no
 * cpuset: limits, user, files, mounts, streams, filters and the look from outside are made for that launch alone. As many
 * are made as were missed, in the background. Whatever cannot use one, or finds none, is launched from nothing.
 * @throws BAD_REQUEST
 */
export async function resizePool(cgroupParent: string, size: number): Promise<void> {
  if (!Number.isSafeInteger(size) || size < 0 || size > MAX_POOL_SIZE)
    throw new CloveError('BAD_REQUEST', `a pool holds 0 to ${MAX_POOL_SIZE} sandboxes: ${size}`);
  const { op, done } = begin<string>();
  sandboxFace().pool(op, cgroupParent, size);
  await done;
}

export async function poolState(cgroupParent: string): Promise<SandboxPoolState> {
  const { op, done } = begin<string>();
  sandboxFace().poolOf(op, cgroupParent);
  return JSON.parse(await done) as SandboxPoolState;
}

/**
 * The next launch is expected to be like this one, whatever it runs: `argv`, `env`, `cwd` and the standard streams do not count. When
 * nobody waits, a sandbox of the pool is finished for it, looked at from outside, and kept at gate 2. A launch of the same user
 * that is like it gets that one; one that is not has cost the pool a sandbox. @throws BAD_REQUEST
 */
export function furnish(spec: SandboxSpec): void {
  sandboxFace().furnish(toNativeLaunch(spec));
}

/** The agent with this user does not come: nothing of its user is left soon. */
export function unfurnish(cgroupParent: string, uid: number): void {
  sandboxFace().unfurnish(cgroupParent, uid);
}
