import type { Layer, LayerReport } from '../../native/types.ts';
import { OF_NAMESPACES } from '../agents/reduced-host.ts';
import type { HostFacts } from './facts.ts';

/** Layers that need a namespace to be made. */
export const NAMESPACES: ReadonlySet<Layer> = new Set<Layer>(['userns', ...OF_NAMESPACES]);
const LIMITS: ReadonlySet<Layer> = new Set<Layer>(['mem', 'swap', 'cpu', 'pids', 'cpuset', 'freeze', 'kill']);

/** A container may do all of this and still be refused pivot_root by the engine's own filter. */
const IN_DOCKER =
  'docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined --cgroupns host -v /sys/fs/cgroup:/sys/fs/cgroup';

/** What exactly to do about a layer that is missing on this machine: a command where there is one. */
export function remedyFor({ layer, errno, hint }: LayerReport, facts: HostFacts): string | null {
  const isRoot = facts.euid === 0;
  if (NAMESPACES.has(layer)) {
    if (facts.container !== null) return `start the container with more: ${IN_DOCKER} …`;
    if (isRoot && !facts.sysAdmin)
      return 'give the kernel CAP_SYS_ADMIN: start it as root without a reduced bounding set';
    if (!isRoot && facts.maxUserNamespaces === 0)
      return 'sysctl -w user.max_user_namespaces=15000, or start the kernel as root';
    if (!isRoot && facts.unprivilegedUserNamespaces === false) {
      return 'sysctl -w kernel.unprivileged_userns_clone=1, or start the kernel as root';
    }
    if (!isRoot && facts.appArmorRestrictsUserNamespaces === true) {
      return 'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or start the kernel as root';
    }
    if (facts.seccompMode === 2)
      return 'this process is under a seccomp filter that refuses namespaces: start the kernel outside of it';
    return hint ?? (isRoot ? null : 'start the kernel as root: sudo clove kernel start');
  }
  if (LIMITS.has(layer)) {
    if (facts.cgroup === 'none') return 'mount cgroups: mount -t cgroup2 none /sys/fs/cgroup';
    if (facts.container !== null && isRoot) return `start the container with more: ${IN_DOCKER} …`;
    if (!isRoot) {
      return facts.cgroup === 'v1' || facts.cgroup === 'hybrid'
        ? 'start the kernel as root: cgroup v1 cannot be delegated to users'
        : 'systemd-run --user --scope -p Delegate=yes clove kernel start --foreground, or start the kernel as root';
    }
    if (errno === 'ENOENT' && facts.cgroupControllers.length === 0) {
      return 'no controller is there: enable them at the root (echo "+memory +cpu +pids" > /sys/fs/cgroup/cgroup.subtree_control), or mount those of version 1';
    }
    return hint;
  }
  if (layer === 'uid' && isRoot && !facts.ownUsers)
    return 'this user namespace has no other users: start the kernel outside of it, or in one with a range of them that holds 200000 and up';
  if (layer === 'caps') return 'start the kernel as root, or with CAP_SETPCAP';
  if (layer === 'uid')
    return isRoot ? hint : 'start the kernel as root: each agent then has a host user of its own';
  if (layer === 'landlock')
    return facts.landlockAbi > 0 ? hint : 'boot Linux 5.13 or newer with lsm=landlock,… in its command line';
  return hint;
}
