import { closeSync, openSync, readSync, statfsSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Sandbox, SandboxLimits } from '../../native/types.ts';
import { type CgroupRoots, findCgroupFile } from '../metrics/cgroup.ts';

/** Folders of their own size inside a sandbox. */
const SIZED_FOLDERS = ['/work', '/tmp', '/run', '/dev/shm'];
const TMPFS_MAGIC = 0x01021994;
/** Processes of one agent whose descriptors are counted at a time. */
const MAX_PROCESSES = 16;
const TEXT_BYTES = 512;
/** Of a list of processes: a pid has at most seven digits, and half a line at its end is a process more or less. */
const PROCESSES_BYTES = MAX_PROCESSES * 8;

/** Any hierarchy that has the agent's groups names its processes; which of them a host has differs. */
const LISTS_PROCESSES = ['unified', 'memory', 'pids', 'cpu', 'freezer'];

export interface Fill {
  readonly where: string;
  readonly used: number;
  readonly limit: number;
}

/** Looks at what one incarnation uses of what it may. Files that are asked often stay open. */
export class Probe {
  readonly #sandbox: Sandbox;
  readonly #limits: SandboxLimits;
  readonly #pidsEvents: number | null;
  readonly #cpuStat: number | null;
  readonly #processes: number | null;
  readonly #text = Buffer.alloc(TEXT_BYTES);
  #folders: readonly string[];

  constructor(roots: CgroupRoots, cgroupPath: string, sandbox: Sandbox, limits: SandboxLimits) {
    this.#sandbox = sandbox;
    this.#limits = limits;
    this.#pidsEvents = open(findCgroupFile(roots, 'pids', cgroupPath, 'pids.events'));
    this.#cpuStat =
      open(findCgroupFile(roots, 'unified', cgroupPath, 'cpu.stat')) ??
      open(findCgroupFile(roots, 'cpuacct', cgroupPath, 'cpuacct.usage'));
    this.#processes = open(
      LISTS_PROCESSES.map((each) => findCgroupFile(roots, each, cgroupPath, 'cgroup.procs')).find(
        (file) => file !== null,
      ) ?? null,
    );
    const hasOwn = sandbox.layers.some(({ layer, state }) => layer === 'disk' && state === 'on');
    this.#folders = hasOwn ? SIZED_FOLDERS : [];
  }

  /** Forks refused so far. */
  pidsRefused(): number {
    return Number(/^max (\d+)/m.exec(this.#read(this.#pidsEvents))?.[1] ?? 0);
  }

  /** A figure that stands still while the agent does nothing; null = it cannot be told. */
  work(): string | null {
    return this.#cpuStat === null ? null : this.#read(this.#cpuStat).split('\n', 1)[0] || null;
  }

  /** How full its file systems are, in bytes and in inodes. */
  fills(): { readonly bytes: readonly Fill[]; readonly inodes: readonly Fill[] } {
    const bytes: Fill[] = [];
    const inodes: Fill[] = [];
    for (const where of this.#folders) {
      try {
        const found = statfsSync(path.join(`/proc/${this.#sandbox.initPid}/root`, where));
        const limit = found.blocks * found.bsize;
        // A folder of the host that was put there is not the agent's alone to fill.
        if (found.type !== TMPFS_MAGIC || limit > this.#limits.tmpfsBytes + found.bsize) {
          this.#folders = this.#folders.filter((each) => each !== where);
          continue;
        }
        bytes.push({ where, used: limit - found.bfree * found.bsize, limit });
        inodes.push({ where, used: found.files - found.ffree, limit: found.files });
      } catch {
        // Not there, or not for this user to see.
        this.#folders = this.#folders.filter((each) => each !== where);
      }
    }
    return { bytes, inodes };
  }

  /** Descriptors of the process that has most of them. */
  fds(): number {
    const listed = this.#read(this.#processes).slice(0, PROCESSES_BYTES).split('\n').slice(0, -1);
    let most = 0;
    for (const pid of [this.#sandbox.pid, ...listed.slice(0, MAX_PROCESSES)]) {
      try {
        // Since Linux 6.2 the size of the folder is the number of its entries.
        most = Math.max(most, statSync(`/proc/${pid}/fd`).size);
      } catch {
        // It has ended.
      }
    }
    return most;
  }

  close(): void {
    for (const fd of [this.#pidsEvents, this.#cpuStat, this.#processes]) if (fd !== null) closeSync(fd);
  }

  #read(fd: number | null): string {
    if (fd === null) return '';
    try {
      return this.#text.toString('latin1', 0, readSync(fd, this.#text, 0, TEXT_BYTES, 0));
    } catch {
      // The cgroup is gone.
      return '';
    }
  }
}

function open(file: string | null): number | null {
  try {
    return file === null ? null : openSync(file, 'r');
  } catch {
    return null;
  }
}
