/** When a limit was met, as seen from outside the kernel: in ms of performance.now(). */
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CloveClient } from '../../sdk/typescript/index.ts';

/** What an attack itself wrote of it (bench/micro/neighbour.ts, MET); null = it wrote nothing. */
export async function metMs(client: CloveClient, agentId: number): Promise<number | null> {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const { stderr } = await client.logs(agentId);
    const times = [...stderr.matchAll(/^met (\d+)$/gm)].map(([, ns]) => Number(ns) / 1e6);
    // A bomb's processes each tell of their own first time.
    if (times.length > 0) return Math.min(...times) - clockOffsetMs();
    await sleep(20);
  }
  return null;
}

/** Of CLOCK_MONOTONIC before performance.now(). */
function clockOffsetMs(): number {
  return Number(process.hrtime.bigint()) / 1e6 - performance.now();
}

/** Looks every millisecond whether a process of an agent was killed for want of memory. */
export class MemoryLimitWatch {
  readonly #timer: NodeJS.Timeout;
  #firstMs: number | null = null;

  /** `pid`: of a process of the agent, as the host numbers it. */
  constructor(pid: number) {
    const file = memoryEventsOf(pid);
    this.#timer = setInterval(() => {
      if (this.#firstMs === null && (file === null || hasKilled(file))) this.#firstMs = performance.now();
    }, 1);
  }

  /** When it was first seen; null = never. */
  end(): number | null {
    clearInterval(this.#timer);
    return this.#firstMs;
  }
}

/** null = the agent has ended already. */
function memoryEventsOf(pid: number): string | null {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  try {
    for (const line of readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n')) {
      const [, controllers = '', group = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      const isOld = controllers.split(',').includes('memory');
      const isMemory = (mount: string) =>
        isOld ? / - cgroup .*\bmemory\b/.test(mount) : / - cgroup2 /.test(mount);
      const mount = mounts.find(isMemory)?.split(' ')[4];
      const file = `${mount}${group}/${isOld ? 'memory.oom_control' : 'memory.events'}`;
      if (mount !== undefined && (isOld || (controllers === '' && existsSync(file)))) return file;
    }
  } catch {
    // It has.
  }
  return null;
}

/** What is gone by now was ended by it. */
function hasKilled(file: string): boolean {
  try {
    return /^oom_kill [1-9]/m.test(readFileSync(file, 'utf8'));
  } catch {
    return true;
  }
}
