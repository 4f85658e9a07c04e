/** Small measurements by name, each against a kernel of its own in this process: what `clove bench micro` runs. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bench } from 'tinybench';
import { CloveError } from '../../errors/index.ts';
import { createKernel } from '../../kernel/index.ts';
import { type CloveClient, connect } from '../../sdk/typescript/index.ts';
import { lazyWorldHost } from '../../worlds/lazy.ts';

export interface MicroFigures {
  /** µs of one call. */
  readonly latencyUs: {
    readonly p50: number;
    readonly p99: number;
    readonly mean: number;
    readonly min: number;
  };
  readonly perSecond: number;
  /** Relative margin of error of the mean, per cent. */
  readonly rmePercent: number;
  readonly samples: number;
}

interface MicroBenchmark {
  readonly title: string;
  /** Sandboxes need root. */
  readonly needsRoot: boolean;
  /** Measured so often and no more, without a warm-up: once takes long enough. */
  readonly times?: number;
  /** What is measured once; a number it gives is its duration in ms, in place of what was seen from here. */
  prepare(client: CloveClient): Promise<() => Promise<unknown>> | (() => Promise<unknown>);
}

const CLOCK_READS = 200_000;
/** ns of one time.time(), the loop itself taken off. */
const READ_CLOCK = `
import time
def loop(n, f):
    begin = time.perf_counter_ns()
    for _ in range(n): f()
    return time.perf_counter_ns() - begin
nothing = lambda: None
n = ${CLOCK_READS}
empty = min(loop(n, nothing) for _ in range(3))
print(max(1, min(loop(n, time.time) for _ in range(5)) - empty) / n)
`;

const spawned = (command: readonly string[], world?: string) => ({
  command: [...command],
  ...(world === undefined ? {} : { world }),
  restart_policy: 'never' as const,
  persist: false,
});

/** Reads a clock many times in a process of its own; answers ms of one read. */
async function readClock(client: CloveClient, world?: string): Promise<number> {
  const { id } = await client.spawn(spawned(['/usr/bin/python3', '-c', READ_CLOCK], world));
  const { exit_code, log_tail } = (await client.wait(id)) as {
    exit_code: number | null;
    log_tail?: { stdout?: string } | string;
  };
  const output = typeof log_tail === 'string' ? log_tail : (log_tail?.stdout ?? '');
  const nanoseconds = Number(output.trim().split('\n').at(-1));
  if (exit_code !== 0 || !Number.isFinite(nanoseconds))
    throw new CloveError('TRIAL_FAILED', `the clock could not be read: ${output.slice(0, 500)}`);
  return nanoseconds / 1e6;
}

export const MICRO_BENCHMARKS: Readonly<Record<string, MicroBenchmark>> = {
  noop: {
    title: 'NOOP, answered by the wire server alone',
    needsRoot: false,
    prepare: (client) => () => client.echo('0123456789abcdef'),
  },
  hello: {
    title: 'HELLO, a call through dispatch',
    needsRoot: false,
    prepare: (client) => () => client.hello(),
  },
  store: {
    title: 'STORE, durable when it is answered',
    needsRoot: false,
    prepare: (client) => () => client.store('key', { value: 1 }),
  },
  fetch: {
    title: 'FETCH',
    needsRoot: false,
    async prepare(client) {
      await client.store('key', { value: 1 });
      return () => client.fetch('key');
    },
  },
  message: {
    title: 'SEND to itself and RECV',
    needsRoot: false,
    async prepare(client) {
      await client.register('micro');
      return async () => {
        await client.send('micro', { n: 1 });
        await client.receive({ max: 1 });
      };
    },
  },
  spawn: {
    title: 'SPAWN of /bin/true in a full sandbox, and WAIT',
    needsRoot: true,
    prepare: (client) => async () => {
      const { id } = await client.spawn(spawned(['/bin/true']));
      await client.wait(id);
    },
  },
  world: {
    title: 'WORLD_CREATE of a world with files and a network, and WORLD_DESTROY',
    needsRoot: false,
    prepare: (client) => async () => {
      const { world_id } = await client.createWorld({
        name: 'micro',
        config: { network: { mocks: { 'http://api.test/*': { status: 200, body: 'x' } } } },
      });
      await client.destroyWorld(world_id);
    },
  },
  'world-http': {
    title: 'HTTP to a service of a world',
    needsRoot: false,
    async prepare(client) {
      const { world_id } = await client.createWorld({
        name: 'micro',
        config: { network: { mocks: { 'http://api.test/*': { status: 200, body: 'x' } } } },
      });
      await client.joinWorld(world_id);
      return () => client.http('http://api.test/a');
    },
  },
  'world-time': {
    title: 'WORLD_WAIT of 0 ms: what time it is in the world',
    needsRoot: false,
    async prepare(client) {
      const { world_id } = await client.createWorld({ name: 'micro', config: { clock: { mode: 'skip' } } });
      await client.joinWorld(world_id);
      return () => client.waitInWorld({ ms: 0 });
    },
  },
  'clock-host': {
    title: 'time.time() of Python in a sandbox, on the clock of the host',
    needsRoot: true,
    times: 3,
    prepare: (client) => () => readClock(client),
  },
  'clock-world': {
    title: 'time.time() of Python in a mounted world with a clock of its own',
    needsRoot: true,
    times: 3,
    async prepare(client) {
      const { world_id } = await client.createWorld({
        name: 'micro',
        config: { form: 'mounted', clock: { mode: 'skip' } },
      });
      return () => readClock(client, world_id);
    },
  },
};

/** @throws USAGE, whatever the kernel throws */
export async function measureMicro(name: string, measureMs: number): Promise<MicroFigures> {
  const benchmark = Object.hasOwn(MICRO_BENCHMARKS, name) ? MICRO_BENCHMARKS[name] : undefined;
  if (benchmark === undefined) throw new CloveError('USAGE', `there is no measurement "${name}"`);
  const folder = mkdtempSync(join(tmpdir(), 'clove-micro-'));
  try {
    const kernel = await createKernel(
      {
        socketPath: join(folder, 'k.sock'),
        dataDirectory: join(folder, 'data'),
        logLevel: 'error',
        drainMs: 0,
      },
      { worlds: lazyWorldHost() },
    );
    try {
      const client = await connect({ socketPath: kernel.socketPath, reconnect: false });
      const run = await benchmark.prepare(client);
      const figures = await timed(name, run, benchmark.times ?? null, measureMs);
      await client.close();
      return figures;
    } finally {
      await kernel.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function timed(
  name: string,
  run: () => Promise<unknown>,
  times: number | null,
  measureMs: number,
): Promise<MicroFigures> {
  const howLong =
    times === null
      ? { time: measureMs, warmupTime: Math.min(500, measureMs / 4) }
      : { time: 0, iterations: times, warmup: false };
  const bench = new Bench({ ...howLong, retainSamples: true });
  bench.add(name, async () => {
    const own = await run();
    return typeof own === 'number' ? { overriddenDuration: own } : undefined;
  });
  const [task] = await bench.run();
  const result = task?.result;
  if (result?.state !== 'completed') {
    const cause = result !== undefined && 'error' in result ? result.error : undefined;
    throw new CloveError(
      'TRIAL_FAILED',
      `${name} could not be measured: ${cause?.message ?? result?.state}`,
      {
        cause,
      },
    );
  }
  const { p50, p99, mean, min, rme, samplesCount } = result.latency;
  const micro = (ms: number | undefined) => (ms ?? mean) * 1000;
  return {
    latencyUs: { p50: micro(p50), p99: micro(p99), mean: micro(mean), min: micro(min) },
    perSecond: mean > 0 ? 1000 / mean : 0,
    rmePercent: rme,
    samples: samplesCount,
  };
}
