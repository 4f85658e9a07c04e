/** What a kernel's process holds, told by itself after garbage was collected: what has grown then was not left for the collector. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

export interface MemoryAtRest {
  /** Live objects of all threads' heaps. */
  readonly heapBytes: number;
  /** Live memory outside of the heaps that objects hold on to: buffers of all kinds. */
  readonly externalBytes: number;
  /** What SQLite and the addon have is in here only. What the C library keeps of freed memory was given back before. */
  readonly residentBytes: number;
  readonly descriptors: number;
  readonly threads: number;
}

const NATIVE_MEMORY = new URL(`../../native/memory${path.extname(import.meta.filename)}`, import.meta.url)
  .href;

/** Runs first in the kernel's process (`--expose-gc`, with a channel to its parent): answers each message with what it holds. */
export const MEMORY_PROBE = `
const workers = new Set();
const threads = process.getBuiltinModule('node:worker_threads');
threads.Worker = class extends threads.Worker {
  constructor(...args) {
    super(...args);
    workers.add(this);
    this.once('exit', () => workers.delete(this));
  }
};
process.getBuiltinModule('node:module').syncBuiltinESMExports();
process.on('message', async ({ snapshotPath }) => {
  const { setTimeout: sleep } = process.getBuiltinModule('node:timers/promises');
  for (let times = 0; times < 4; times += 1) {
    gc();
    await sleep(50);
  }
  const all = [process.memoryUsage()];
  for (const worker of workers) {
    // Nobody else can make a thread collect its garbage.
    const snapshot = await worker.getHeapSnapshot();
    for await (const part of snapshot) void part;
    const { used_heap_size: heapUsed, external_memory: external } = await worker.getHeapStatistics();
    all.push({ heapUsed, external });
  }
  const { trimMemory } = await import(${JSON.stringify(NATIVE_MEMORY)});
  await trimMemory();
  if (snapshotPath) process.getBuiltinModule('node:v8').writeHeapSnapshot(snapshotPath);
  process.send({
    heapBytes: all.reduce((sum, { heapUsed }) => sum + heapUsed, 0),
    externalBytes: all.reduce((sum, { external }) => sum + external, 0),
  });
});
process.channel.unref();
`;

export async function memoryAtRest(kernel: ChildProcess, snapshotPath?: string): Promise<MemoryAtRest> {
  kernel.send({ snapshotPath });
  const [told] = (await once(kernel, 'message')) as [Pick<MemoryAtRest, 'heapBytes' | 'externalBytes'>];
  const status = readFileSync(`/proc/${kernel.pid}/status`, 'utf8');
  const field = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? Number.NaN);
  return {
    ...told,
    residentBytes: field('VmRSS') * 1024,
    threads: field('Threads'),
    descriptors: readdirSync(`/proc/${kernel.pid}/fd`).length,
  };
}

const MIB = 2 ** 20;
/** Between the first third of the rests and the last: live memory in a long run, and what a short one may still warm up by. */
const GROWTH = 1.2;
const WARM_UP_BYTES = 16 * MIB;
/** Descriptors and threads are exact but for what is just being closed. */
const MORE_DESCRIPTORS = 24;
const MORE_THREADS = 4;

/** What has grown, in words. */
export function growthOf(atRest: readonly MemoryAtRest[]): string[] {
  const first = atRest[Math.ceil(atRest.length / 3) - 1];
  const last = atRest.at(-1);
  if (first === undefined || last === undefined || first === last) return [];
  const live = ({ heapBytes, externalBytes }: MemoryAtRest) => heapBytes + externalBytes;
  const mib = (bytes: number) => `${(bytes / MIB).toFixed(1)} MiB`;
  const grown: string[] = [];
  if (live(last) > Math.max(GROWTH * live(first), live(first) + WARM_UP_BYTES))
    grown.push(`live memory grew from ${mib(live(first))} to ${mib(live(last))}`);
  if (last.residentBytes > Math.max(2 * first.residentBytes, first.residentBytes + 256 * MIB))
    grown.push(`the process grew from ${mib(first.residentBytes)} to ${mib(last.residentBytes)}`);
  if (last.descriptors > first.descriptors + MORE_DESCRIPTORS)
    grown.push(`descriptors: ${first.descriptors}, then ${last.descriptors}`);
  if (last.threads > first.threads + MORE_THREADS)
    grown.push(`threads: ${first.threads}, then ${last.threads}`);
  return grown;
}

export function describeMemory(memory: MemoryAtRest): string {
  const mib = (bytes: number) => `${(bytes / MIB).toFixed(1)} MiB`;
  return (
    `heaps ${mib(memory.heapBytes)}, buffers ${mib(memory.externalBytes)}, resident ${mib(memory.residentBytes)}, ` +
    `${memory.descriptors} descriptors, ${memory.threads} threads`
  );
}
