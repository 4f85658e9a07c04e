/** What can be seen of a process from the host, whatever it says of itself. */
import { readFileSync, readlinkSync } from 'node:fs';

const NAMESPACES = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'uts'] as const;

export interface ProcessLook {
  readonly uid: number;
  /** Effective capabilities as hexadecimal; "0000000000000000" = none. */
  readonly capabilities: string;
  readonly noNewPrivileges: boolean;
  /** 2 = a filter of system calls. */
  readonly seccompMode: number;
  /** Namespaces of its own: other than the looker's. */
  readonly namespaces: readonly string[];
}

/** null when there is no such process, or it may not be looked at. */
export function lookAt(pid: number): ProcessLook | null {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(status)?.[1] ?? '';
    return {
      uid: Number(field('Uid')),
      capabilities: field('CapEff'),
      noNewPrivileges: field('NoNewPrivs') === '1',
      seccompMode: Number(field('Seccomp')),
      namespaces: NAMESPACES.filter(
        (name) => readlinkSync(`/proc/${pid}/ns/${name}`) !== readlinkSync(`/proc/self/ns/${name}`),
      ),
    };
  } catch {
    return null;
  }
}

/** Not root, no privileges, filtered, and in namespaces of its own. */
export function isWalled(look: ProcessLook): boolean {
  return (
    look.uid !== 0 &&
    /^0*$/.test(look.capabilities) &&
    look.noNewPrivileges &&
    look.seccompMode === 2 &&
    ['mnt', 'net', 'pid'].every((name) => look.namespaces.includes(name))
  );
}

export function lookText({
  uid,
  capabilities,
  noNewPrivileges,
  seccompMode,
  namespaces,
}: ProcessLook): string {
  return `uid ${uid}, effective capabilities ${capabilities}, no_new_privs ${noNewPrivileges ? 'on' : 'off'}, seccomp mode ${seccompMode}, own namespaces: ${namespaces.join(' ') || 'none'}`;
}
