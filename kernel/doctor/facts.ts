import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { hostCapabilities } from '../../native/index.ts';
import type { HostCapabilities } from '../../native/types.ts';
import { isMappedUser } from '../agents/uid-pool.ts';
import { FIRST_UID } from '../locks.ts';

/** What decides which layers this machine can have: read, not tried. */
export interface HostFacts extends HostCapabilities {
  /** A container this process is in; null = none that shows. */
  readonly container: 'docker' | 'podman' | 'other' | null;
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
  /** Its own cgroup of version 2, where it may make groups with controllers; null = nowhere. */
  readonly delegatedCgroup: string | null;
}

const CAP_SYS_ADMIN = 1n << 21n;

export function hostFacts(): HostFacts {
  const status = text('/proc/self/status') ?? '';
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  return {
    ...hostCapabilities(),
    container: container(),
    maxUserNamespaces: number('/proc/sys/user/max_user_namespaces'),
    unprivilegedUserNamespaces: flag('/proc/sys/kernel/unprivileged_userns_clone'),
    appArmorRestrictsUserNamespaces: flag('/proc/sys/kernel/apparmor_restrict_unprivileged_userns'),
    seccompMode: Number(/^Seccomp:\s*(\d)/m.exec(status)?.[1] ?? 0),
    ownUsers: isMappedUser(FIRST_UID),
    sysAdmin: (effective & CAP_SYS_ADMIN) !== 0n,
    delegatedCgroup: delegatedCgroup(),
  };
}

function container(): HostFacts['container'] {
  if (existsSync('/.dockerenv')) return 'docker';
  if (existsSync('/run/.containerenv')) return 'podman';
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
