import type { HostFacts } from './facts.ts';

/** All that an engine has to give for every layer; as tried in Docker itself (docs/design/restricted-hosts.md). */
const EVERYTHING =
  '--cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined --cgroupns host -v /sys/fs/cgroup:/sys/fs/cgroup';

/** What the container that this process is in has to be started with; `options` are those of Docker and Podman. */
export function startContainerWith(container: HostFacts['container'], options: string = EVERYTHING): string {
  switch (container) {
    case 'docker':
    case 'podman':
      return `start the container with more: ${container} run ${options} …`;
    case 'kubernetes':
      return 'set securityContext.privileged: true for this container in the pod’s specification';
    default:
      return 'start the kernel outside of this container, or make the container a privileged one';
  }
}
