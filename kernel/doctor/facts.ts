import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { hostCapabilities } from '../../native/index.ts';
import type { HostCapabilities } from '../../native/types.ts';
import { isMappedUser } from '../agents/uid-pool.ts';
import { FIRST_UID } from '../locks.ts';

/** What decides which layers this machine can have: read, not tried. */
export interface HostFacts extends HostCapabilities {
  /** A container this process is in; null = none that shows. */
  readonly container: 'docker' | 'podman' | 'kubernetes' | 'other' | null;
  /** user.max_user_namespaces; null = not readable. */
  readonly maxUserNamespaces: number | null;
  /** Debian's switch for user namespaces of users; null = this Linux has none. */
  readonly unprivilegedUserNamespaces: boolean | null;
  /** Ubuntu's: namespaces of users without a profile get no capabilities. null = there is no such switch. */
  readonly appArmorRestrictsUserNamespaces: boolean | null;
  /** Of this process: 2 = it is under a filter itself. */
  readonly seccompMode: number;
  /** Agents can have users of their own here; false in a user namespace that maps only its maker. */
  readonly ownUsers: boolean;
  /** CAP_SYS_ADMIN among its effective capabilities. */
  readonly sysAdmin: boolean;
  /** Of those that a kernel that is root needs, the ones it does not have effectively. */
  readonly lackingCapabilities: readonly string[];
  /** Its own cgroup of version 2, where it may make groups with controllers; null = nowhere. */
  readonly delegatedCgroup: string | null;
  /** Controllers of this Linux, mounted or not; hierarchy 0 = version 1 does not hold it. */
  readonly controllers: Readonly<Record<string, { readonly hierarchy: number; readonly enabled: boolean }>>;
  /** Mount points of cgroups that matter here and are mounted read-only. */
  readonly cgroupsReadOnly: readonly string[];
  /** Something is mounted at /sys/fs/cgroup. */
  readonly isCgroupMountPoint: boolean;
}

const CAPABILITIES = { CHOWN: 0, SETGID: 6, SETUID: 7, SETPCAP: 8, NET_ADMIN: 12, SYS_ADMIN: 21 } as const;

export function hostFacts(): HostFacts {
  const status = text('/proc/self/status') ?? '';
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  const lacking = Object.entries(CAPABILITIES).filter(([, bit]) => (effective & (1n << BigInt(bit))) === 0n);
  const lackingCapabilities = lacking.map(([name]) => name);
  const mounts = mountsOf(text('/proc/self/mountinfo') ?? '');
  return {
    ...hostCapabilities(),
    container: container(),
    maxUserNamespaces: number('/proc/sys/user/max_user_namespaces'),
    unprivilegedUserNamespaces: flag('/proc/sys/kernel/unprivileged_userns_clone'),
    appArmorRestrictsUserNamespaces: flag('/proc/sys/kernel/apparmor_restrict_unprivileged_userns'),
    seccompMode: Number(/^Seccomp:\s*(\d)/m.exec(status)?.[1] ?? 0),
    ownUsers: isMappedUser(FIRST_UID),
    sysAdmin: !lackingCapabilities.includes('SYS_ADMIN'),
    lackingCapabilities,
    delegatedCgroup: delegatedCgroup(),
    controllers: controllersOf(text('/proc/cgroups') ?? ''),
    cgroupsReadOnly: mounts
      .filter(({ type, isReadOnly }) => isReadOnly && /^cgroup/.test(type))
      .filter(
        ({ type, options }) => type === 'cgroup2' || /\b(memory|cpu|cpuset|pids|freezer)\b/.test(options),
      )
      .map(({ point }) => point),
    isCgroupMountPoint: mounts.some(({ point }) => point === '/sys/fs/cgroup'),
  };
}

/** "name hierarchy groups enabled", a line each. */
function controllersOf(table: string): HostFacts['controllers'] {
  const rows = table
    .split('\n')
    .filter((line) => /^\w+\t/.test(line))
    .map((line) => line.split('\t'));
  return Object.fromEntries(
    rows.map(([name = '', hierarchy, , enabled]) => [
      name,
      { hierarchy: Number(hierarchy), enabled: enabled === '1' },
    ]),
  );
}

interface Mount {
  readonly point: string;
  readonly type: string;
  readonly isReadOnly: boolean;
  /** Of the file system itself. */
  readonly options: string;
}

function mountsOf(table: string): Mount[] {
  return table
    .split('\n')
    .filter((line) => line.includes(' - '))
    .map((line) => {
      const [left = '', right = ''] = line.split(' - ');
      const [, , , , point = '', flags = ''] = left.split(' ');
      const [type = '', , options = ''] = right.split(' ');
      return { point, type, options, isReadOnly: flags.split(',').includes('ro') };
    });
}

function container(): HostFacts['container'] {
  if (existsSync('/.dockerenv')) return 'docker';
  if (existsSync('/run/.containerenv')) return 'podman';
  if (process.env.KUBERNETES_SERVICE_HOST !== undefined) return 'kubernetes';
  const of = /(?:^|\0)container=([^\0]*)/.exec(text('/proc/1/environ') ?? '')?.[1];
  return of === undefined || of === '' ? null : 'other';
}

function delegatedCgroup(): string | null {
  const mount = (text('/proc/self/mountinfo') ?? '').split('\n').find((line) => line.includes(' - cgroup2 '));
  const own = /^0::(.*)$/m.exec(text('/proc/self/cgroup') ?? '')?.[1];
  if (mount === undefined || own === undefined) return null;
  const group = `${mount.split(' ')[4]}${own === '/' ? '' : own}`;
  const controllers = text(`${group}/cgroup.controllers`) ?? '';
  try {
    accessSync(`${group}/cgroup.subtree_control`, constants.W_OK);
  } catch {
    return null;
  }
  return /\b(memory|cpu|pids)\b/.test(controllers) ? group : null;
}

function text(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

function number(file: string): number | null {
  const value = Number.parseInt(text(file) ?? '', 10);
  return Number.isNaN(value) ? null : value;
}

function flag(file: string): boolean | null {
  const value = number(file);
  return value === null ? null : value !== 0;
}
