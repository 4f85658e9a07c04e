import type { Layer, LayerReport } from '../../native/types.ts';
import { OF_NAMESPACES } from '../agents/reduced-host.ts';
import { cgroupRemedy } from './cgroup-remedy.ts';
import { startContainerWith } from './containers.ts';
import type { HostFacts } from './facts.ts';

/** Layers that need a namespace to be made. */
export const NAMESPACES: ReadonlySet<Layer> = new Set<Layer>(['userns', ...OF_NAMESPACES]);
const LIMITS: ReadonlySet<Layer> = new Set<Layer>(['mem', 'swap', 'cpu', 'pids', 'cpuset', 'freeze', 'kill']);

/** Capabilities without which user 0 cannot have a layer; CAP_SYS_ADMIN is looked at where namespaces are. */
const CAPABILITIES: Partial<Record<Layer, readonly string[]>> = {
  uid: ['SETUID', 'SETGID'],
  caps: ['SETPCAP'],
  netns: ['NET_ADMIN'],
  disk: ['CHOWN'],
  inodes: ['CHOWN'],
};

const AS_ROOT = 'start the kernel as root: sudo clove kernel start';

/** What exactly to do about a layer that is missing on this machine: a command where there is one. */
export function remedyFor(report: LayerReport, facts: HostFacts): string | null {
  const { layer, hint } = report;
  const isRoot = facts.euid === 0;
  if (layer === 'uid' && isRoot && !facts.ownUsers)
    return 'this user namespace has no other users: start the kernel outside of it, or in one with a range of them that holds 200000 and up';
  const lacking = (CAPABILITIES[layer] ?? []).filter((name) => facts.lackingCapabilities.includes(name));
  if (isRoot && lacking.length > 0 && (facts.sysAdmin || !NAMESPACES.has(layer)))
    return withCapabilities(lacking, facts);
  if (NAMESPACES.has(layer)) return forNamespaces(report, facts);
  if (LIMITS.has(layer)) return cgroupRemedy(report, facts);
  if (layer === 'uid') {
    if (isRoot) return hint;
    return facts.container === null
      ? `${AS_ROOT}; each agent then has a host user of its own`
      : startContainerWith(facts.container, '--user root');
  }
  if (layer === 'caps') return isRoot ? hint : AS_ROOT;
  if (layer === 'nofile')
    return facts.container === 'docker' || facts.container === 'podman'
      ? startContainerWith(facts.container, '--ulimit nofile=1024:1024')
      : 'sudo prlimit --pid $$ --nofile=1024:1024 in the shell that starts the kernel (under systemd: LimitNOFILE=1024)';
  if (layer === 'landlock')
    return facts.landlockAbi > 0 ? hint : 'boot Linux 5.13 or newer with lsm=landlock,… in its command line';
  return hint;
}

function forNamespaces({ hint }: LayerReport, facts: HostFacts): string | null {
  const isRoot = facts.euid === 0;
  if (facts.container !== null) return startContainerWith(facts.container);
  if (isRoot && !facts.sysAdmin) return withCapabilities(['SYS_ADMIN'], facts);
  if (!isRoot && facts.maxUserNamespaces === 0)
    return 'sudo sysctl -w user.max_user_namespaces=15000, or start the kernel as root: sudo clove kernel start';
  if (!isRoot && facts.unprivilegedUserNamespaces === false)
    return 'sudo sysctl -w kernel.unprivileged_userns_clone=1, or start the kernel as root: sudo clove kernel start';
  if (!isRoot && facts.appArmorRestrictsUserNamespaces === true)
    return 'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or start the kernel as root: sudo clove kernel start';
  if (facts.seccompMode === 2)
    return 'this process is under a seccomp filter that refuses namespaces: start the kernel outside of it';
  return hint ?? (isRoot ? null : AS_ROOT);
}

function withCapabilities(names: readonly string[], { container }: HostFacts): string {
  if (container !== null)
    return startContainerWith(container, names.map((name) => `--cap-add ${name}`).join(' '));
  const all = names.map((name) => `CAP_${name}`).join(' ');
  return `give the kernel ${all}: start it as root without a reduced bounding set (under systemd, CapabilityBoundingSet= has to name it)`;
}
