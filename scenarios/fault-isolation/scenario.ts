import { extname } from 'node:path';
import {
  type CgroupFigures,
  type Evidence,
  type Fleet,
  type FleetScenario,
  isWalled,
  lookAt,
  lookText,
  type Observation,
  percentiles,
} from '../../bench/fleet/index.ts';

const MIB = 2 ** 20;
const MODULE = extname(import.meta.filename);
const agent = (name: string) => new URL(`./agents/${name}${MODULE}`, import.meta.url);

const CPU_SHARE = 0.2;
/** A quota is per period: at the edges of a window a little more can have been used. */
const MOST_CORES = CPU_SHARE * 1.25;
const CPU_WINDOW_MS = 1500;
const CPU_PATIENCE_MS = 20_000;
const MEMORY_LIMIT_BYTES = 96 * MIB;
const SOLO_PINGS = 40;
const PING_EVERY_MS = 20;
const PING_LIMIT_MS = 5000;

const faultIsolation: FleetScenario = {
  kind: 'fleet',
  name: 'fault-isolation',
  title: 'Fault isolation: two hogs beside a healthy agent',
  description:
    'A CPU hog and a memory hog run beside an agent that does its work. The first is held to its share, the second killed by its own limit, and the third is asked all the while how it does.',
  version: '1',
  roles: {
    healthy: {
      title: 'answers pings',
      program: { script: agent('healthy') },
      limits: { memory: 128 * MIB, cpu: 1, max_pids: 32 },
    },
    'cpu-hog': {
      title: 'two busy loops without end',
      // Ends by itself after a minute of CPU time, whatever becomes of its limits.
      program: { command: ['/bin/sh', '-c', 'ulimit -t 60; (while :; do :; done) & while :; do :; done'] },
      limits: { memory: 32 * MIB, cpu: CPU_SHARE, max_pids: 8 },
    },
    'memory-hog': {
      title: 'takes memory without end',
      program: { script: agent('memory-hog') },
      limits: { memory: MEMORY_LIMIT_BYTES, cpu: 1, max_pids: 32 },
    },
  },
  budgets: { wallMs: 90_000, memoryBytes: 300 * MIB, agents: 3 },
  metrics: [
    {
      path: 'roundTripMs.beside.p99',
      label: 'Round trip p99 beside the hogs (ms)',
      format: '.1f',
      higherIsBetter: false,
    },
    {
      path: 'roundTripMs.beside.p50',
      label: 'p50 beside the hogs (ms)',
      format: '.1f',
      higherIsBetter: false,
    },
    { path: 'roundTripMs.alone.p50', label: 'p50 alone (ms)', format: '.1f', higherIsBetter: false },
    { path: 'roundTripMs.alone.p99', label: 'p99 alone (ms)', format: '.1f', higherIsBetter: false },
    { path: 'cpuHog.cores', label: 'CPU hog (cores)', format: '.2f', higherIsBetter: false },
    { path: 'memoryHog.peakMiB', label: 'Memory hog, peak (MiB)', format: '.0f', higherIsBetter: false },
  ],
  harmlessUnprotected: true,

  async oracle(fleet) {
    await fleet.start('healthy');
    fleet.mark('phase', 'alone');
    const pings = new Pings(fleet);
    // The first also waits for the agent's start.
    await pings.warmUp();
    while (pings.alone.length < SOLO_PINGS) await pings.one(pings.alone);
    fleet.mark('phase', 'beside two hogs');
    await fleet.start('cpu-hog', 'memory-hog');
    const [memory, cpu] = await pings.while([memoryHog(fleet), cpuHog(fleet)]);
    await fleet.check('memory-hog-killed', 'The memory hog is killed by its own limit of 96 MiB', () =>
      memory(),
    );
    await fleet.check('cpu-hog-throttled', 'The CPU hog gets a fifth of a core and no more', () => cpu());
    await fleet.check(
      'healthy-unaffected',
      'The healthy agent answers every ping, in its first and only life',
      () => healthy(fleet, pings),
    );
    await fleet.check('walls', 'Every agent runs behind its walls, as the host sees it', () => walls(fleet));
    fleet.metric('roundTripMs.alone', null);
    for (const [name, times] of [
      ['alone', pings.alone],
      ['beside', pings.beside],
    ] as const) {
      const figures = percentiles(times);
      for (const key of ['p50', 'p95', 'p99', 'max'] as const)
        fleet.metric(`roundTripMs.${name}.${key}`, figures?.[key] ?? null);
    }
  },
};

export default faultIsolation;

/** Asks the healthy agent, from outside, and takes the time. */
class Pings {
  readonly alone: number[] = [];
  readonly beside: number[] = [];
  lost = 0;
  readonly #fleet: Fleet;

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
  }

  async warmUp(): Promise<void> {
    await this.#fleet.ask('healthy', { ping: true }, { timeoutMs: 20_000 });
  }

  async one(times: number[]): Promise<void> {
    try {
      const { ms } = await this.#fleet.ask('healthy', { ping: true }, { timeoutMs: PING_LIMIT_MS });
      times.push(ms);
      this.#fleet.point('healthy, there and back', 'ms', ms);
    } catch (error) {
      if (this.#fleet.signal.aborted) throw error;
      this.lost++;
    }
    await new Promise((resolve) => setTimeout(resolve, PING_EVERY_MS));
  }

  /** Goes on pinging until all of these are over. */
  async while<Parts extends readonly Promise<unknown>[]>(
    parts: readonly [...Parts],
  ): Promise<{ [Index in keyof Parts]: Awaited<Parts[Index]> }> {
    let over = false;
    const all = Promise.all(parts).finally(() => {
      over = true;
    });
    all.catch(() => {});
    while (!over) await this.one(this.beside);
    return (await all) as { [Index in keyof Parts]: Awaited<Parts[Index]> };
  }
}

/** Resolves when it was killed, or has all it wanted. */
async function memoryHog(fleet: Fleet): Promise<() => Observation> {
  const startedAtMs = fleet.nowMs();
  const evidence: Evidence[] = [];
  let limit: number | null = null;
  const curve = setInterval(async () => {
    const figures = await fleet.cgroup('memory-hog').catch(() => null);
    if (figures === null) return;
    limit = figures.memory.max;
    fleet.point('memory-hog', 'MiB', figures.memory.current / MIB);
  }, 50);
  try {
    const waiting = { timeoutMs: 30_000, what: 'the end of the memory hog' };
    const end = await Promise.race([
      fleet.event(({ type, agent: name }) => type === 'AGENT_EXITED' && name === 'memory-hog', waiting),
      fleet.message(
        ({ message }) => typeof message === 'object' && message !== null && 'full' in message,
        waiting,
      ),
    ]);
    if (limit !== null)
      evidence.push({ source: 'cgroup', text: `memory limit of its cgroup: ${limit} bytes` });
    if (!('data' in end)) {
      const { full } = end.message as { full: number };
      evidence.push({ source: 'message', text: `it tells that it holds ${full} MiB` });
      return () => ({ holds: false, observed: `it took all it wanted, ${full} MiB, and lives`, evidence });
    }
    const { reason, signal, usage } = end.data as {
      reason: string;
      signal: string | null;
      usage: { oom_kills: number; memory_peak_bytes: number };
    };
    const peakMiB = usage.memory_peak_bytes / MIB;
    fleet.metric('memoryHog.peakMiB', peakMiB);
    fleet.metric('memoryHog.livedMs', end.atMs - startedAtMs);
    evidence.push({
      source: 'event',
      text: `AGENT_EXITED reason=${reason} signal=${signal} oom_kills=${usage.oom_kills}`,
    });
    return () => ({
      holds: reason === 'oom' && usage.memory_peak_bytes <= MEMORY_LIMIT_BYTES,
      observed: `it ended by ${reason} after ${Math.round(end.atMs - startedAtMs)} ms, at ${peakMiB.toFixed(0)} MiB`,
      layer: reason === 'oom' ? 'mem' : null,
      evidence,
    });
  } finally {
    clearInterval(curve);
  }
}

/** Resolves when its cgroup has been watched for long enough. */
async function cpuHog(fleet: Fleet): Promise<() => Observation> {
  const first = await fleet.cgroup('cpu-hog');
  const firstAtMs = fleet.nowMs();
  if (first === null || !first.controllers.includes('cpu'))
    return () => ({ holds: null, observed: 'this machine counts no CPU time per cgroup' });
  let before = { figures: first, atMs: firstAtMs };
  const last = await fleet.until(
    async () => {
      const figures = await fleet.cgroup('cpu-hog');
      const atMs = fleet.nowMs();
      if (figures === null) return null;
      const usedMs = (figures.cpu.usage_usec - before.figures.cpu.usage_usec) / 1000;
      if (atMs - before.atMs >= 200) {
        fleet.point('cpu-hog', 'cores', usedMs / (atMs - before.atMs));
        before = { figures, atMs };
      }
      const look = { figures, ...since(first, firstAtMs, figures, atMs) };
      if (look.windowMs < CPU_WINDOW_MS) return null;
      // On a machine that others keep busy it may take a while until it wants more than it may have.
      const isClear = look.periods > 0 || look.cores > MOST_CORES || quotaOf(figures) > MOST_CORES;
      return isClear || look.windowMs > CPU_PATIENCE_MS ? look : null;
    },
    { timeoutMs: CPU_PATIENCE_MS * 2, what: 'a look at the CPU hog' },
  );
  const { figures, windowMs, cores, periods, throttledMs } = last;
  fleet.metric('cpuHog.cores', cores);
  fleet.metric('cpuHog.throttledPeriods', periods);
  const used = `it used ${cores.toFixed(2)} cores over ${Math.round(windowMs)} ms`;
  const { quota_usec, period_usec, nr_throttled } = figures.cpu;
  const evidence: Evidence[] = [
    { source: 'cgroup', text: `quota ${quota_usec} µs per ${period_usec} µs, nr_throttled ${nr_throttled}` },
  ];
  if (periods === 0 && cores <= MOST_CORES && quotaOf(figures) <= MOST_CORES)
    return () => ({ holds: null, observed: `${used}: others left it no more than that`, evidence });
  return () => ({
    holds: periods > 0 && cores <= MOST_CORES && quotaOf(figures) <= MOST_CORES,
    observed: `${used}${quotaOf(figures) > MOST_CORES ? `, would have been let use ${quotaOf(figures).toFixed(2)},` : ''} and was held back in ${periods} periods, for ${Math.round(throttledMs)} ms of its threads' time`,
    layer: periods > 0 ? 'cpu' : null,
    evidence,
  });
}

function since(first: CgroupFigures, firstAtMs: number, last: CgroupFigures, atMs: number) {
  const windowMs = atMs - firstAtMs;
  return {
    windowMs,
    cores: (last.cpu.usage_usec - first.cpu.usage_usec) / 1000 / windowMs,
    throttledMs: (last.cpu.throttled_usec - first.cpu.throttled_usec) / 1000,
    periods: last.cpu.nr_throttled - first.cpu.nr_throttled,
  };
}

/** Cores that a cgroup may use. */
function quotaOf({ cpu }: CgroupFigures): number {
  return cpu.quota_usec < 0 ? Number.POSITIVE_INFINITY : cpu.quota_usec / cpu.period_usec;
}

async function healthy(fleet: Fleet, pings: Pings): Promise<Observation> {
  const { id, pid } = fleet.agent('healthy');
  const row = (await fleet.client.list()).find((one) => one.id === id);
  const asked = pings.alone.length + pings.beside.length + pings.lost;
  const beside = percentiles(pings.beside);
  return {
    holds: pings.lost === 0 && row?.pid === pid && row.restarts === 0,
    observed: `it answered ${asked - pings.lost} of ${asked} pings; beside the hogs p50 ${beside?.p50.toFixed(1) ?? '–'} ms, p99 ${beside?.p99.toFixed(1) ?? '–'} ms`,
    evidence: [
      {
        source: 'process',
        text: `pid ${row?.pid ?? 'none'}, as at the start: ${pid}; restarts ${row?.restarts ?? '–'}`,
      },
      { source: 'message', text: `${pings.beside.length} round trips measured while the hogs ran` },
    ],
  };
}

function walls(fleet: Fleet): Observation {
  const looks = fleet.agents.flatMap(({ name, pid }) => {
    const look = lookAt(pid);
    return look === null ? [] : [{ name, look }];
  });
  const open = looks.filter(({ look }) => !isWalled(look)).map(({ name }) => name);
  return {
    holds: looks.length === 0 ? null : open.length === 0,
    observed: open.length === 0 ? `${looks.length} processes looked at` : `without walls: ${open.join(', ')}`,
    evidence: looks.map(({ name, look }) => ({ source: 'process', text: `${name}: ${lookText(look)}` })),
  };
}
