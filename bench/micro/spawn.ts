/**
 * node bench/micro/spawn.ts [spawns] [tree] [paced]: /bin/true in a full sandbox through a kernel and its socket, with and without
 * sandboxes made ahead, in turns with what else is installed (bwrap, unshare, nsjail, runc, crun) and a bare process: first one every
 * 50 ms, then one after the other; then how it goes with many at a time, how long a tree of processes takes to be gone, and what an
 * idle agent costs in memory. tree 0: only the first two.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createKernel, type RunningKernel } from '../../kernel/index.ts';
import { type CloveClient, connect } from '../../sdk/typescript/index.ts';
import { bareParent } from './bare-parent.ts';
import type { NativeTimer } from './native-timer.ts';
import { ociRuns } from './oci-peers.ts';
import { spawnClient } from './spawn-client.ts';

const spawns = Number(process.argv[2] ?? 1000);
const treeSize = Number(process.argv[3] ?? 1000);
const paced = Number(process.argv[4] ?? 100);
const PACE_MS = 50;
const POOL_SIZE = 4;
/** As large as a turn: what is made ahead between two turns is enough for one. */
const LARGE_POOL_SIZE = 32;
const ROUND = 25;
const PACED_ROUND = 10;
const IDLE_AGENTS = 50;
const SETTLE_MS = 500;
const TRUE = ['/bin/true'];

interface Way {
  readonly name: string;
  /** ms from asked to ended. */
  readonly run: () => Promise<number>;
}

function isInstalled(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, program)));
}

async function timed(work: () => Promise<void>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

async function runProgram(program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: 'ignore' });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: exit ${code}`);
}

/** Each with all the layers it offers on its command line, and the same view of the system. */
const PEERS: readonly (readonly [name: string, program: string, args: readonly string[]])[] = [
  ['bare process of Node', '/bin/true', []],
  ['unshare -mipnuf', 'unshare', ['-mipnuf', ...TRUE]],
  [
    'bwrap',
    'bwrap',
    [
      ...['--unshare-all', '--new-session', '--die-with-parent', '--cap-drop', 'ALL', '--clearenv'],
      ...['--ro-bind', '/usr', '/usr', '--symlink', 'usr/bin', '/bin', '--symlink', 'usr/lib', '/lib'],
      ...['--symlink', 'usr/lib64', '/lib64', '--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', ...TRUE],
    ],
  ],
  ['nsjail', 'nsjail', ['-Mo', '-Q', '--chroot', '/', '--user', '65534', '--group', '65534', '--', ...TRUE]],
];

const OCI_RUNTIMES = ['runc', 'crun'];

async function spawnAndWait(client: CloveClient): Promise<void> {
  const { id } = await client.spawn({ command: TRUE });
  await client.wait(id);
}

async function withKernel<T>(
  sandboxPool: number,
  work: (client: CloveClient, kernel: RunningKernel, socketPath: string) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'clove-micro-'));
  const socketPath = join(folder, 'clove.sock');
  try {
    const kernel = await createKernel({
      socketPath,
      dataDirectory: join(folder, 'data'),
      logLevel: 'error',
      sandboxPool,
    });
    const client = await connect(socketPath);
    try {
      return await work(client, kernel, socketPath);
    } finally {
      client.close();
      await kernel.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Of a sorted list; at most its last entry. */
function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

function line(name: string, samplesMs: readonly number[]): string {
  const sorted = samplesMs.toSorted((a, b) => a - b);
  const ms = (q: number) => quantile(sorted, q).toFixed(2).padStart(8);
  return `${name.padEnd(34)} min ${ms(0)}  p50 ${ms(0.5)}  p99 ${ms(0.99)} ms  n=${sorted.length}`;
}

function waysOf(
  clients: readonly (readonly [name: string, client: CloveClient])[],
  native: readonly (readonly [name: string, timer: NativeTimer])[],
  folder: string,
): Way[] {
  const ways: Way[] = [
    ...clients.map(([name, client]) => ({ name, run: () => timed(() => spawnAndWait(client)) })),
    ...native.map(([name, timer]) => ({ name, run: () => timer.run() })),
    ...PEERS.filter(([, program]) => program.startsWith('/') || isInstalled(program)).map(
      ([name, program, args]) => ({ name, run: () => timed(() => runProgram(program, args)) }),
    ),
  ];
  for (const program of OCI_RUNTIMES.filter(isInstalled)) {
    const runs = ociRuns(program, folder);
    if (typeof runs === 'string') console.log(runs);
    else ways.push({ name: program, run: () => timed(() => runProgram(program, runs())) });
  }
  return ways;
}

/** `count` of each, `round` at a time, with a pause before each of them. */
async function sideBySide(
  ways: readonly Way[],
  count: number,
  round: number,
  pauseMs: number,
): Promise<void> {
  const samples = new Map<Way, number[]>(ways.map((way) => [way, []]));
  for (let done = 0; done < count; done += round) {
    for (const [{ run }, samplesMs] of samples) {
      for (let i = 0; i < round; i++) {
        if (pauseMs > 0) await sleep(pauseMs);
        samplesMs.push(await run());
      }
    }
  }
  for (const [{ name }, samplesMs] of samples) console.log(line(name, samplesMs));
}

async function curve(name: string, client: CloveClient): Promise<void> {
  for (const parallel of [1, 8, 32, 100]) {
    const samplesMs: number[] = [];
    let left = spawns;
    const startedMs = performance.now();
    const worker = async () => {
      while (left > 0) {
        left -= 1;
        const askedMs = performance.now();
        await spawnAndWait(client);
        samplesMs.push(performance.now() - askedMs);
      }
    };
    await Promise.all(Array.from({ length: parallel }, worker));
    const seconds = (performance.now() - startedMs) / 1000;
    console.log(
      `${line(`${name}, ${parallel} at a time`, samplesMs)}  all in ${seconds.toFixed(2)} s, ${(spawns / seconds).toFixed(0)}/s`,
    );
  }
}

async function killTree(client: CloveClient): Promise<void> {
  const script = `i=0; while [ $i -lt ${treeSize} ]; do sleep 600 & i=$((i+1)); done; echo grown; wait`;
  const { id } = await client.spawn({
    command: ['/bin/sh', '-c', script],
    limits: { memory_mb: 2048, max_pids: treeSize + 50 },
  });
  while (!(await client.logs(id)).stdout.includes('grown')) await sleep(20);
  const startedMs = performance.now();
  await client.kill(id, { graceMs: 0 });
  console.log(
    `\na tree of ${treeSize} processes is gone after ${(performance.now() - startedMs).toFixed(0)} ms`,
  );
}

function memoryInUseKiB(): number {
  const info = readFileSync('/proc/meminfo', 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(info)?.[1] ?? 0);
  return field('MemTotal') - field('MemFree') - field('Buffers') - field('Cached') - field('SReclaimable');
}

/** What the groups of an idle agent hold, and how much of it is its program's: its own pages, whoever runs it. */
async function groupMemory(client: CloveClient, { kernel }: RunningKernel): Promise<void> {
  const { id } = await client.spawn({ command: ['/bin/sleep', '600'] });
  await sleep(SETTLE_MS);
  const { sandbox } = kernel.agents.get(id) ?? {};
  if (sandbox === undefined || sandbox === null) throw new Error('the agent has ended');
  const ownKiB = (pid: number) => {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return [...rollup.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+)/gm)].reduce(
      (sum, match) => sum + Number(match[1]),
      0,
    );
  };
  const groupKiB = sandbox.stats().memoryBytes / 1024;
  console.log(
    `\nan idle agent: ${groupKiB.toFixed(0)} KiB in its groups; its program's own pages ${ownKiB(sandbox.pid)} KiB, those of PID 1 ${ownKiB(sandbox.initPid)} KiB`,
  );
  await client.kill(id, { graceMs: 0 });
}

/** Of the whole machine: only on a quiet one does it mean anything. */
async function idleMemory(client: CloveClient): Promise<void> {
  const cost = async (start: () => Promise<unknown>, end: () => Promise<unknown>): Promise<number> => {
    await sleep(SETTLE_MS);
    const before = memoryInUseKiB();
    await start();
    await sleep(SETTLE_MS);
    const used = memoryInUseKiB() - before;
    await end();
    return used / IDLE_AGENTS;
  };
  const command = ['/bin/sleep', '600'];
  const ids: number[] = [];
  const agent = await cost(
    async () => {
      for (let i = 0; i < IDLE_AGENTS; i++) ids.push((await client.spawn({ command })).id);
    },
    () => Promise.all(ids.map((id) => client.kill(id, { graceMs: 0 }))),
  );
  const children = new Set<ReturnType<typeof spawn>>();
  const bare = await cost(
    async () => {
      for (let i = 0; i < IDLE_AGENTS; i++)
        children.add(spawn('/bin/sleep', ['600'], { stdio: ['ignore', 'pipe', 'pipe'] }));
    },
    () =>
      Promise.all(
        [...children].map((child) => {
          const ended = once(child, 'exit');
          child.kill('SIGKILL');
          return ended;
        }),
      ),
  );
  console.log(
    `\nan idle agent takes ${agent.toFixed(0)} KiB of the machine's memory, the same program bare ${bare.toFixed(0)} KiB: ${(agent - bare).toFixed(0)} KiB more`,
  );
}

console.log(
  `load average ${loadavg()
    .map((load) => load.toFixed(1))
    .join(' ')}`,
);
const folder = mkdtempSync(join(tmpdir(), 'clove-micro-'));
await withKernel(0, (plain) =>
  withKernel(LARGE_POOL_SIZE, (large) =>
    withKernel(POOL_SIZE, async (pooled, kernelOf, socketPath) => {
      const clients = [
        [`clove, pool of ${POOL_SIZE}`, pooled],
        [`clove, pool of ${LARGE_POOL_SIZE}`, large],
        ['clove, no pool', plain],
      ] as const;
      const native = [
        [`clove, pool of ${POOL_SIZE}, client in C++`, spawnClient(folder, socketPath, TRUE)],
        ['bare process (posix_spawn in C++)', bareParent(folder, TRUE)],
      ] as const;
      const ways = waysOf(clients, native, folder);
      for (const { run } of ways) for (let i = 0; i < 2 * LARGE_POOL_SIZE; i++) await run();
      console.log(`\nfrom asked to ended, one every ${PACE_MS} ms, in turns of ${PACED_ROUND}`);
      await sideBySide(ways, paced, PACED_ROUND, PACE_MS);
      console.log(`\nfrom asked to ended, one after the other, in turns of ${ROUND}`);
      await sideBySide(ways, spawns, ROUND, 0);
      for (const [, timer] of native) timer.close();
      if (treeSize === 0) return;
      console.log(`\n${spawns} spawns`);
      await curve('clove, pool', pooled);
      await curve('clove, no pool', plain);
      const { made, used, discarded, failed } = await kernelOf.kernel.sandboxPool.state();
      console.log(`pool: ${made} made, ${used} used, ${discarded} discarded, ${failed} failed`);
      await killTree(pooled);
      await groupMemory(pooled, kernelOf);
      await idleMemory(plain);
    }),
  ),
);
rmSync(folder, { recursive: true, force: true });
console.log(
  `load average ${loadavg()
    .map((load) => load.toFixed(1))
    .join(' ')}`,
);
