/** What can be seen of a process from the host, whatever it says of itself. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

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

/** Host pids of a process and of everything it has started, as far as they still hang on it. */
export function treeOf(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      // "pid (name) state ppid": the name may hold anything.
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // gone meanwhile
    }
  }
  const tree = [pid];
  for (const each of tree) tree.push(...(children.get(each) ?? []));
  return tree;
}

/** Which namespace of a kind a process is in, as text; null when it is gone. */
export function namespaceOf(pid: number | 'self', kind: string): string | null {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return null;
  }
}
