import type { LayerReport } from '../../native/types.ts';
import { startContainerWith } from './containers.ts';
import type { HostFacts } from './facts.ts';

/** Those that limits need; how agents are stopped needs version 2 or the freezer. */
const NEEDED = ['memory', 'cpu', 'pids'];
const MOUNT_POINT = '/sys/fs/cgroup';

/** What to do about limits, and stopping, that cannot be had: the same for each of these layers, so that it is done once. */
export function cgroupRemedy({ errno, hint }: LayerReport, facts: HostFacts): string | null {
  if (facts.euid !== 0) return forUser(facts);
  if (errno === 'EROFS' && facts.sysAdmin && facts.cgroupsReadOnly.length > 0)
    return facts.cgroupsReadOnly.map((mount) => `mount -o remount,bind,rw ${mount}`).join(' && ');
  if (errno === 'ENOENT' && facts.sysAdmin) {
    const mounting = mountCommand(facts);
    if (mounting !== null) return mounting;
  }
  if (facts.container !== null)
    return startContainerWith(facts.container, `--cgroupns host -v ${MOUNT_POINT}:${MOUNT_POINT}`);
  if (errno === 'ENOENT')
    return `the groups above that of the kernel give it no controllers: echo "+memory +cpu +pids" > ${MOUNT_POINT}/cgroup.subtree_control, and so in each below it`;
  return hint;
}

function forUser(facts: HostFacts): string {
  const asRoot = 'sudo clove kernel start';
  if (facts.container !== null) return startContainerWith(facts.container, '--user root');
  if (facts.cgroup === 'none')
    return `as root: ${mountCommand(facts) ?? `mount -t cgroup2 none ${MOUNT_POINT}`}`;
  return facts.cgroup === 'v2'
    ? `systemd-run --user --scope -p Delegate=yes clove kernel start --foreground, or start the kernel as root: ${asRoot}`
    : `start the kernel as root: ${asRoot} (cgroup v1 cannot be delegated to users)`;
}

/** Mounts what is not mounted, as far as this Linux has it; null = that is not what is missing. */
function mountCommand({
  cgroup,
  cgroupControllers,
  controllers,
  isCgroupMountPoint,
}: HostFacts): string | null {
  const lacking = NEEDED.filter((name) => !cgroupControllers.includes(name));
  const disabled = lacking.filter((name) => controllers[name]?.enabled === false);
  if (disabled.length > 0) {
    const enable = disabled.map((name) => `cgroup_enable=${name}`).join(' ');
    return `boot Linux with ${enable} in its command line, and without cgroup_disable=${disabled.join(',')}`;
  }
  // Version 2 has those that version 1 does not hold.
  const held = (name: string) => (controllers[name]?.hierarchy ?? 0) !== 0;
  if (cgroup === 'none' && !NEEDED.some(held)) return `mount -t cgroup2 none ${MOUNT_POINT}`;
  const first = lacking.filter((name) => held(name) || (cgroup !== 'v2' && controllers[name] !== undefined));
  if (first.length === 0) return null;
  const mounts = new Set(
    first.map((name) => {
      // Controllers of one hierarchy are only ever mounted together.
      const { hierarchy } = controllers[name] ?? { hierarchy: 0 };
      const together = Object.keys(controllers).filter((each) => controllers[each]?.hierarchy === hierarchy);
      return hierarchy === 0 ? name : together.join(',');
    }),
  );
  const place = (folder: string, type: string) =>
    `mkdir -p ${MOUNT_POINT}/${folder} && mount -t ${type} none ${MOUNT_POINT}/${folder}`;
  return [
    ...(isCgroupMountPoint ? [] : [`mount -t tmpfs none ${MOUNT_POINT}`]),
    ...[...mounts].map((names) => place(names, `cgroup -o ${names}`)),
    ...(cgroup === 'none' ? [place('unified', 'cgroup2')] : []),
  ].join(' && ');
}
