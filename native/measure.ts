// Measures a spawn: node native/measure.ts [launches] [ballast MiB] [pause ms] [pool]. Prints min, p50, p95, p99 of launch → exited
// for /bin/true, by stage; the ballast shows that the size of the kernel process does not matter.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { furnish, launch, poolState, reconcile, resizePool, type SandboxSpec } from './index.ts';
import { ROOT_LAYERS } from './types.ts';

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

const launches = Number(process.argv[2] ?? 300);
const ballast = Buffer.alloc(Number(process.argv[3] ?? 0) * 2 ** 20, 1);
const pauseMs = Number(process.argv[4] ?? 0);
const poolSize = Number(process.argv[5] ?? 0);
const warmUp = 20;
const boot = `clove/measure-${randomBytes(4).toString('hex')}`;
const stages = new Map<string, number[]>();
const record = (stage: string, us: number) => {
  const values = stages.get(stage);
  if (values === undefined) stages.set(stage, [us]);
  else values.push(us);
};

if (poolSize > 0) await resizePool(boot, poolSize);
for (let i = 0; i < launches + warmUp; i++) {
  const spec: SandboxSpec = {
    instance: `m-${i}`,
    hostname: 'measure',
    argv: ['/bin/true'],
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/work',
    uid: 210_000,
    gid: 210_000,
    limits: {
      memoryBytes: 256 * 2 ** 20,
      swapBytes: 0,
      cpuQuotaUs: 100_000,
      cpuPeriodUs: 100_000,
      cpuShares: null,
      cpus: null,
      maxPids: 64,
      fileSizeBytes: 2 ** 30,
      maxOpenFiles: 1024,
      tmpfsBytes: 2 ** 26,
      tmpfsInodes: 4096,
    },
    mounts: [],
    socketPath: null,
    network: 'none',
    profile: 'default',
    require: ROOT_LAYERS,
    disable: [],
    faultStep: null,
    faultErrno: 0,
    cgroupParent: boot,
    stdin: null,
    stdout: 1,
    stderr: 2,
    setupTimeoutMs: 5000,
  };
  if (pauseMs > 0) await sleep(pauseMs);
  const started = performance.now();
  const sandbox = await launch(spec);
  const running = performance.now();
  if (poolSize > 0) furnish(spec);
  await sandbox.exited;
  const ended = performance.now();
  if (i < warmUp) continue;
  for (const [stage, us] of Object.entries(sandbox.setupUs)) record(`  setup.${stage}`, us);
  record('launch → running', (running - started) * 1000);
  record('running → exited', (ended - running) * 1000);
  record('launch → exited', (ended - started) * 1000);
}
if (poolSize > 0) {
  console.log(await poolState(boot));
  await resizePool(boot, 0);
}
await reconcile(boot);

const table: Record<string, { min: string; p50: string; p95: string; p99: string }> = {};
for (const [stage, values] of stages) {
  values.sort((a, b) => a - b);
  const ms = (q: number) => (quantile(values, q) / 1000).toFixed(3);
  table[stage] = { min: ms(0), p50: ms(0.5), p95: ms(0.95), p99: ms(0.99) };
}
console.log(
  `${launches} launches of /bin/true, all layers required; ms; RSS ${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB, ballast ${ballast.length >> 20} MiB, pause ${pauseMs} ms`,
);
console.table(table);
