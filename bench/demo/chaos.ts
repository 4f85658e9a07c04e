/** `demo chaos`: many agents, some of them killed out of nowhere; what that does to them, and to the others, seen from outside. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CloveError } from '../../errors/index.ts';
import { createKernel } from '../../kernel/index.ts';
import { type CloveClient, connect, type ReceivedEvent } from '../../sdk/typescript/index.ts';
import { Luck } from '../../worlds/luck/streams.ts';
import { type Percentiles, percentiles } from '../fleet/percentiles.ts';

const MIB = 2 ** 20;
/** Connections that spawn side by side. */
const SPAWNERS = 4;
/** The kills are spread over this time. */
const STORM_MS = 2000;
const RECOVERY_MS = 60_000;
/** Says something every second, so that its going on can be seen from outside. */
const PROGRAM = ['/bin/sh', '-c', 'while :; do echo .; sleep 1; done'];

export interface ChaosOptions {
  readonly agents: number;
  readonly kill: number;
  readonly seed: number;
  readonly signal?: AbortSignal;
}

export type CellState = 'waiting' | 'running' | 'killed' | 'back';

export type ChaosEvent =
  | { readonly kind: 'state'; readonly agent: number; readonly state: CellState }
  | { readonly kind: 'started'; readonly agents: number; readonly ms: number }
  | { readonly kind: 'killed'; readonly agent: number; readonly pid: number }
  | { readonly kind: 'back'; readonly agent: number; readonly ms: number };

export interface ChaosResult {
  readonly seed: number;
  readonly agents: number;
  readonly killed: number;
  readonly restarted: number;
  /** From the signal to the next life's start, as the kernel tells it. ms */
  readonly restartMs: Percentiles | null;
  /** Those that were not aimed at: same process, no restart, and they went on with what they do. */
  readonly unaffected: number;
  readonly affected: readonly string[];
  readonly startMs: number;
  readonly wallMs: number;
  readonly victims: readonly {
    readonly agent: string;
    readonly atMs: number;
    readonly restartMs: number | null;
  }[];
}

interface Agent {
  readonly index: number;
  readonly id: number;
  readonly name: string;
  readonly pid: number;
}

interface Victim {
  readonly agent: Agent;
  readonly atMs: number;
  killedWallMs: number | null;
  restartMs: number | null;
}

/** Everything is drawn from the seed: whom, and when. @throws USAGE, SANDBOX_UNAVAILABLE, CANCELLED, TIMEOUT when one does not come back */
export async function runChaos(
  options: ChaosOptions,
  onEvent: (event: ChaosEvent) => void = () => {},
): Promise<ChaosResult> {
  const { agents: count, kill, seed } = options;
  if (kill > count) throw new CloveError('USAGE', `${kill} of ${count} agents cannot be killed`);
  const signal = options.signal ?? new AbortController().signal;
  const folder = await mkdtemp(join(tmpdir(), 'clove-chaos-'));
  const startedAtMs = performance.now();
  const kernel = await createKernel({
    socketPath: join(folder, 'k.sock'),
    dataDirectory: join(folder, 'data'),
    logLevel: 'silent',
    drainMs: 0,
    maxAgents: Math.max(16, count),
  });
  const clients: CloveClient[] = [];
  const open = async () => {
    const client = await connect({ socketPath: kernel.socketPath, reconnect: false });
    clients.push(client);
    return client;
  };
  try {
    const [client, watcher] = await Promise.all([open(), open()]);
    const spawners = await Promise.all(Array.from({ length: SPAWNERS }, open));
    await watcher.subscribe(['AGENT_SPAWNED', 'AGENT_EXITED']);
    const agents = await startAll(count, spawners, signal, onEvent);
    const startMs = performance.now() - startedAtMs;
    onEvent({ kind: 'started', agents: count, ms: startMs });
    const saidBefore = await saidBy(client, agents);
    const victims = chooseVictims(agents, kill, seed);
    const watching = watch(watcher, victims, onEvent);
    await storm(victims, signal, onEvent);
    await recovered(victims, signal);
    await watcher.close();
    await watching;
    const { unaffected, affected } = await lookAtOthers(client, agents, victims, saidBefore, signal);
    const times = victims.flatMap(({ restartMs }) => restartMs ?? []);
    return {
      seed,
      agents: count,
      killed: victims.length,
      restarted: times.length,
      restartMs: percentiles(times),
      unaffected,
      affected,
      startMs,
      wallMs: performance.now() - startedAtMs,
      victims: victims.map(({ agent, atMs, restartMs }) => ({ agent: agent.name, atMs, restartMs })),
    };
  } finally {
    for (const client of clients) await client.close();
    await kernel.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function startAll(
  count: number,
  spawners: readonly CloveClient[],
  signal: AbortSignal,
  onEvent: (event: ChaosEvent) => void,
): Promise<Agent[]> {
  const agents: Agent[] = [];
  let next = 0;
  const digits = String(count).length;
  await Promise.all(
    spawners.map(async (client) => {
      for (let index = next++; index < count; index = next++) {
        if (signal.aborted) throw new CloveError('CANCELLED', 'the demonstration was stopped');
        const name = `agent-${String(index + 1).padStart(digits, '0')}`;
        const { id, pid } = await client.spawn({
          name,
          command: PROGRAM,
          limits: { memory: 16 * MIB, max_pids: 8, tmpfs: 65_536 },
          restart_policy: 'on-failure',
          persist: false,
        });
        agents.push({ index, id, name, pid });
        onEvent({ kind: 'state', agent: index, state: 'running' });
      }
    }),
  );
  return agents.sort((a, b) => a.index - b.index);
}

/** Pure: in the order of their moments. */
export function chooseVictims(agents: readonly Agent[], kill: number, seed: number): Victim[] {
  const stream = new Luck(seed).stream('chaos/victims');
  return stream
    .shuffle(agents)
    .slice(0, kill)
    .map((agent) => ({ agent, atMs: stream.next() * STORM_MS, killedWallMs: null, restartMs: null }))
    .sort((a, b) => a.atMs - b.atMs);
}

/** A signal from outside, not the kernel's own KILL: that would be an operator's word, and final. */
async function storm(
  victims: readonly Victim[],
  signal: AbortSignal,
  onEvent: (event: ChaosEvent) => void,
): Promise<void> {
  const startedAtMs = performance.now();
  for (const victim of victims) {
    const leftMs = victim.atMs - (performance.now() - startedAtMs);
    if (leftMs > 0) await new Promise((resolve) => setTimeout(resolve, leftMs));
    if (signal.aborted) throw new CloveError('CANCELLED', 'the demonstration was stopped');
    const { index, pid } = victim.agent;
    victim.killedWallMs = Date.now();
    process.kill(pid, 'SIGKILL');
    onEvent({ kind: 'killed', agent: index, pid });
    onEvent({ kind: 'state', agent: index, state: 'killed' });
  }
}

/** Ends when the watcher is closed. */
async function watch(
  watcher: CloveClient,
  victims: readonly Victim[],
  onEvent: (event: ChaosEvent) => void,
): Promise<void> {
  for await (const event of watcher.events()) {
    const victim = victims.find(({ agent }) => agent.id === idOf(event));
    if (event.type !== 'AGENT_SPAWNED' || victim === undefined) continue;
    if (victim.killedWallMs === null || victim.restartMs !== null) continue;
    victim.restartMs = Math.max(0, event.timestamp - victim.killedWallMs);
    onEvent({ kind: 'back', agent: victim.agent.index, ms: victim.restartMs });
    onEvent({ kind: 'state', agent: victim.agent.index, state: 'back' });
  }
}

function idOf({ data }: ReceivedEvent): number | null {
  return typeof data === 'object' && data !== null && 'agent_id' in data ? Number(data.agent_id) : null;
}

async function recovered(victims: readonly Victim[], signal: AbortSignal): Promise<void> {
  const until = performance.now() + RECOVERY_MS;
  while (victims.some(({ restartMs }) => restartMs === null)) {
    if (signal.aborted) throw new CloveError('CANCELLED', 'the demonstration was stopped');
    if (performance.now() > until) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Bytes that each agent has printed so far, as the kernel counts them. */
async function saidBy(client: CloveClient, agents: readonly Agent[]): Promise<Map<number, number>> {
  const said = new Map<number, number>();
  for (const { id } of agents) said.set(id, (await client.logs(id, { maxBytes: 0 })).stdout_bytes);
  return said;
}

/** Those that nobody aimed at: do they run as before, and have they gone on? */
async function lookAtOthers(
  client: CloveClient,
  agents: readonly Agent[],
  victims: readonly Victim[],
  saidBefore: ReadonlyMap<number, number>,
  signal: AbortSignal,
): Promise<{ unaffected: number; affected: string[] }> {
  const aimedAt = new Set(victims.map(({ agent }) => agent.id));
  const others = agents.filter(({ id }) => !aimedAt.has(id));
  const until = performance.now() + RECOVERY_MS;
  let silent: readonly Agent[] = others;
  while (silent.length > 0 && performance.now() < until && !signal.aborted) {
    const said = await saidBy(client, silent);
    silent = silent.filter(({ id }) => (said.get(id) ?? 0) <= (saidBefore.get(id) ?? 0));
    if (silent.length > 0) await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const rows = new Map((await client.list()).map((row) => [row.id, row]));
  const affected = others.filter((agent) => {
    const row = rows.get(agent.id);
    return row?.pid !== agent.pid || row.restarts !== 0 || row.state !== 'running' || silent.includes(agent);
  });
  return { unaffected: others.length - affected.length, affected: affected.map(({ name }) => name) };
}
