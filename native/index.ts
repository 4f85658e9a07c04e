/** The typed face of the native part. Nobody imports the addon otherwise. */
import { CloveError } from '../errors/index.ts';
import { begin, sandboxFace } from './sandbox-native.ts';
import type { HostCapabilities } from './types.ts';

export { ensureNative, ensureZygote, type ZygoteFiles } from './build.ts';
export { launch } from './sandbox.ts';
export { furnish, MAX_POOL_SIZE, poolState, resizePool, unfurnish } from './sandbox-pool.ts';
export { setupSteps } from './sandbox-spec.ts';
export * from './types.ts';
export { createWireServer, type WireServerOptions } from './wire.ts';
export {
  changeIn,
  makeWorldNetwork,
  makeWorldTree,
  openIn,
  shareFolder,
  type TreeEntry,
  type WorldNetworkSpace,
  type WorldTree,
  walkTree,
  walkTreeNow,
} from './world.ts';
export {
  endSpares,
  layersOffInTemplate,
  stageZygote,
  ZYGOTE_OPEN_FILES,
  ZYGOTE_READY,
  ZYGOTE_TARGET,
  type ZygoteProgram,
  type ZygoteRuntime,
  zygoteProgram,
} from './zygote.ts';

/**
 * The two ends through which a template is asked for agents: `ours` goes into SandboxZygote.channelFd, `theirs` is the template's
 * stdin. The caller closes both. @throws IO
 */
export function openChannel(): { readonly ours: number; readonly theirs: number } {
  const ends = sandboxFace().channel();
  if (ends === null) throw new CloveError('IO', 'no socket pair for a template');
  return { ours: ends[0], theirs: ends[1] };
}

/** What this machine can do, measured now. */
export function hostCapabilities(): HostCapabilities {
  const facts = sandboxFace().host();
  return {
    kernelRelease: facts.kernelRelease,
    euid: process.geteuid?.() ?? -1,
    cgroup: facts.cgroup as HostCapabilities['cgroup'],
    cgroupControllers: facts.cgroupControllers === '' ? [] : facts.cgroupControllers.split(','),
    cgroup2Path: facts.cgroup2Path === '' ? null : facts.cgroup2Path,
    landlockAbi: facts.landlockAbi,
    seccomp: facts.seccomp,
    userNamespaces: facts.userNamespaces,
    namespaces: facts.namespaces as HostCapabilities['namespaces'],
    namespacesErrno: facts.namespacesError === '' ? null : facts.namespacesError,
    pivotRoot: facts.pivotRoot,
    clone3: facts.clone3,
  };
}

/** One call of the system call policy: its name, number and what the filter does with it. */
export interface PolicyCall {
  readonly name: string;
  readonly nr: number;
  readonly action: string;
}

/** The system call policy of a profile; everything it does not list is ENOSYS. */
export function seccompPolicy(profile: 'strict' | 'default' | 'debug'): {
  arch: string;
  calls: PolicyCall[];
} {
  return JSON.parse(sandboxFace().policy(profile === 'debug')) as { arch: string; calls: PolicyCall[] };
}

/**
 * Makes the parent groups of a kernel, which its first launch would make otherwise. Where one cannot be made, the layers of a launch
 * that need it say so.
 */
export async function openGroups(cgroupParent: string): Promise<void> {
  const { op, done } = begin<string>();
  sandboxFace().openGroups(op, cgroupParent);
  await done;
}

/**
 * Kills whatever lives in the groups of a kernel that is gone, and removes them from every hierarchy.
 * `cgroupParent` as in SandboxSpec ("clove/<boot>").
 * @throws CONFLICT when a living process still holds these groups; TIMEOUT when something stays for two seconds, and what: a {@link CloveError}.
 */
export async function reconcile(cgroupParent: string): Promise<void> {
  const { op, done } = begin<string>();
  sandboxFace().reconcile(op, cgroupParent);
  await done;
}
