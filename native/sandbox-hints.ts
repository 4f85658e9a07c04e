// What a user can do about a layer that cannot be had: one sentence each.
import type { Layer } from './types.ts';

const NEEDS_ROOT =
  process.geteuid?.() === 0
    ? 'Root of a container may be refused what root of the machine may do: `clove doctor` tells what to start it with; --require least goes on without.'
    : 'Start the kernel as root, or go on with what this machine can give: --require least.';
const NEEDS_GROUPS = 'Start the kernel as root, or under systemd with Delegate=yes.';

const BY_STAGE: Readonly<Record<string, string>> = {
  clone: NEEDS_ROOT,
  cgroup_create: NEEDS_GROUPS,
  cgroup_attach: NEEDS_GROUPS,
  open_mounts:
    'Give existing, real paths below /: no component may be a symbolic link, and /proc, /sys and the like are never mounted.',
  mounts:
    'The target of a mount must exist in, or be creatable in, what is mounted above it, without symbolic links.',
  working_directory: 'The working directory must exist inside the sandbox and be open to the agent.',
  timeout: 'The machine is overloaded, or setupTimeoutMs is too small.',
  attest: 'The memory limit may be too small for the sandbox itself.',
};

const BY_LAYER: Partial<Record<Layer, string>> = {
  uid: 'Start the kernel as root: an unprivileged one has no second user to give. With allow_degraded: uid it goes on without.',
  mem: 'The memory controller of cgroups is needed, and a limit of some MiB at least.',
  swap: 'Swap accounting is off in this kernel (boot with swapaccount=1), or the limit is too small.',
  cpu: 'The cpu controller of cgroups is needed.',
  pids: 'The pids controller of cgroups is needed.',
  cpuset: 'The cpuset controller of cgroups is needed, and CPUs that exist.',
  landlock: 'A kernel with CONFIG_SECURITY_LANDLOCK and "landlock" in its lsm= list is needed.',
  seccomp: 'A kernel with CONFIG_SECCOMP_FILTER is needed; without no_new_privs it also needs CAP_SYS_ADMIN.',
  nofile: 'The hard limit of open files of the kernel process is lower: raise it (ulimit -Hn).',
  freeze: 'A mounted cgroup v2 hierarchy or the v1 freezer is needed.',
  kill: 'A mounted cgroup v2 hierarchy or a pid namespace is needed.',
};

/** Steps that use up what the kernel process and the machine have, not what the agent may have. */
const OF_MACHINE: ReadonlySet<string> = new Set([
  'open_mounts',
  'cgroup_create',
  'channels',
  'plan',
  'gate1',
  'clone',
]);
/** What is missing there now, and may be there later. */
const PASSING: Readonly<Record<string, string>> = {
  EAGAIN:
    'No more processes may be made now (pids.max of the kernel’s own group, or of the machine): try again later.',
  ENOMEM: 'There is no memory for a process now: try again later.',
  EMFILE: 'The kernel process has no descriptor left: raise its limit (ulimit -n), or try again later.',
  ENFILE: 'The machine has no descriptor left: try again later.',
};

const CGROUP_LAYERS: ReadonlySet<string> = new Set(['mem', 'swap', 'cpu', 'pids', 'cpuset']);

/** Whether the same launch may succeed a moment later. */
export function isPassing(stage: string, errno: string): boolean {
  return OF_MACHINE.has(stage) && (PASSING[errno] !== undefined || (stage === 'clone' && errno === 'ENOSPC'));
}

/** `{ hint }` for a failed step or a layer that is off, or nothing. */
export function hintFor(
  stage: string,
  errno: string,
  layer: string,
): { hint: string } | Record<string, never> {
  if (stage === 'exec') {
    if (errno === 'ENOENT')
      return {
        hint: 'The program, or the interpreter its first line names, is not inside the sandbox: add a mount.',
      };
    if (errno === 'EACCES')
      return {
        hint: 'The file must be executable for the agent’s user; scratch directories allow it, /proc does not.',
      };
    return {};
  }
  if (isPassing(stage, errno))
    return {
      hint:
        PASSING[errno] ??
        'There are as many namespaces as may be (sysctl user.max_*_namespaces): raise that, or try again later.',
    };
  const refused = errno === 'EACCES' || errno === 'EROFS';
  if (refused && CGROUP_LAYERS.has(layer)) return { hint: NEEDS_GROUPS };
  const hint = BY_STAGE[stage] ?? BY_LAYER[layer as Layer] ?? (errno === 'EPERM' ? NEEDS_ROOT : undefined);
  return hint === undefined ? {} : { hint };
}
