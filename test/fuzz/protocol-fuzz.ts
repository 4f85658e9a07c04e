import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { ERROR_CODES } from '../../errors/index.ts';
import { TestClient } from '../../kernel/fixture.ts';
import { OPCODES, type SyscallName } from '../../kernel/protocol/opcodes.ts';
import { RawClient } from '../../kernel/wire/testing.ts';
import { growthOf, MEMORY_PROBE, type MemoryAtRest, memoryAtRest } from './memory.ts';
import { Random } from './random.ts';
import { makeRequest, Seen } from './requests.ts';

/** A call without an answer for so long hangs. The slowest of them stop whole trees of agents. */
const HANG_SECONDS = 30;
const RAW = new Set<SyscallName>(['NOOP', 'EXIT']);
/** An operator's own files are the host's: these are for agents, inside their sandboxes. */
const OF_AGENTS = new Set<SyscallName>(['READ', 'WRITE', 'DOWNLOAD', 'HTTP']);
/** Would name paths of the host, too. */
const NEVER = new Set<SyscallName>(['WORLD_SNAPSHOT', 'WORLD_RESTORE', 'TUNNEL_CONNECT', 'TUNNEL_CONFIG']);
const LEVELS = ['unrestricted', 'default', 'standard', 'minimal'] as const;

export interface FuzzOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly connections: number;
  /** How often it comes to rest and is measured, the end included; default 3. */
  readonly rests?: number;
  /** Where heap snapshots are left, one for each rest. */
  readonly snapshotFolder?: string;
  /** Told at each rest, of a run that takes long. */
  readonly onRest?: (memory: MemoryAtRest, report: FuzzReport) => void;
}

export interface FuzzReport {
  calls: number;
  /** How many answers there were of each code; OK = success. */
  readonly codes: Record<string, number>;
  /** Syscalls that were answered with success at least once. */
  readonly succeeded: Set<string>;
  /** What must not be: empty is good. */
  readonly findings: string[];
  /** Of the kernel's process, when nothing is asked of it and all agents are gone: after equal parts of the time. */
  readonly atRest: MemoryAtRest[];
}

/**
 * A real kernel in a process of its own, under clients that make requests of the forms in its table, about what earlier
 * answers named, in any order and all at once; some are of no form at all. Every call must be answered, in kind.
 */
export async function fuzzProtocol(options: FuzzOptions): Promise<FuzzReport> {
  const { seed, seconds, connections, rests = 3, snapshotFolder } = options;
  const folder = mkdtempSync(path.join(tmpdir(), 'clove-protocol-fuzz-'));
  const report: FuzzReport = { calls: 0, codes: {}, succeeded: new Set(), findings: [], atRest: [] };
  const kernel = await startKernel(folder);
  try {
    for (let part = 0; part < rests; part += 1) {
      const random = new Random(seed * rests + part);
      await phase(folder, kernel, random, (seconds * 1000) / rests, connections, report);
      if (kernel.exitCode !== null || kernel.signalCode !== null) {
        report.findings.push(`the kernel ended: ${kernel.exitCode ?? kernel.signalCode}`);
        return report;
      }
      const snapshot = snapshotFolder && path.join(snapshotFolder, `rest-${part}.heapsnapshot`);
      const memory = await memoryAtRest(kernel, snapshot);
      report.atRest.push(memory);
      options.onRest?.(memory, report);
    }
    report.findings.push(...growthOf(report.atRest));
    kernel.kill('SIGTERM');
    const [code] = await once(kernel, 'exit');
    if (code !== 0) report.findings.push(`the kernel did not stop in order: ${code}`);
    const left = readdirSync(path.join(folder, 'run')).filter((name) => name.startsWith('boot-'));
    if (left.length > 0) report.findings.push(`left behind: ${left.join(', ')}`);
    return report;
  } finally {
    if (kernel.exitCode === null && kernel.signalCode === null) kernel.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

async function phase(
  folder: string,
  kernel: ChildProcess,
  random: Random,
  ms: number,
  connections: number,
  report: FuzzReport,
): Promise<void> {
  const seen = new Seen();
  const until = performance.now() + ms;
  const lanes = Array.from({ length: connections }, (_, lane) =>
    run(folder, lane, new Random(random.below(2 ** 31)), seen, until, report).catch((error: Error) => {
      report.findings.push(`lane ${lane}: ${error.message}`);
    }),
  );
  await Promise.race([Promise.all(lanes), once(kernel, 'exit')]);
  if (kernel.exitCode !== null) return;
  // Back to rest: nothing of these clients and agents is wanted any more.
  const control = await connect(path.join(folder, 'k.sock'));
  await control.call('SET_PERMS', { level: 'unrestricted' });
  for (const { id } of await control.call('LIST')) await control.call('KILL', { id, grace_ms: 0 });
  await control.close();
}

/** One client, or one agent: it calls, and now and then goes away and comes back. */
async function run(
  folder: string,
  lane: number,
  random: Random,
  seen: Seen,
  until: number,
  report: FuzzReport,
): Promise<void> {
  const names = (Object.keys(OPCODES) as SyscallName[]).filter((name) => !NEVER.has(name));
  const isAgent = lane % 2 === 1;
  const mine = names.filter((name) => isAgent || !OF_AGENTS.has(name));
  let client = await enter(folder, isAgent, random);
  while (performance.now() < until) {
    if (random.isOneIn(200)) {
      // Sometimes in the middle of a call.
      if (random.isOneIn(2)) client.send('HELLO');
      await client.close();
      client = await enter(folder, isAgent, random);
    }
    const name = random.pick(mine);
    const payload = payloadOf(name, random, seen);
    const before = performance.now();
    let text: string;
    try {
      text = await answered(client.callText(OPCODES[name], payload));
    } catch (error) {
      // An agent may have ended itself, or been ended by another.
      if (isAgent && /ended|ECONN|EPIPE/.test(String(error))) {
        client = await enter(folder, isAgent, random);
        continue;
      }
      report.findings.push(
        `${name} ${clip(payload)}: ${String(error)} after ${Math.round(performance.now() - before)} ms`,
      );
      await client.close();
      client = await enter(folder, isAgent, random);
      continue;
    }
    report.calls += 1;
    const fault = RAW.has(name) ? null : judge(name, text, seen, report);
    if (fault !== null) report.findings.push(`${name} ${clip(payload)}: ${fault}: ${clip(text)}`);
  }
  await client.close();
}

function payloadOf(name: SyscallName, random: Random, seen: Seen): string {
  if (random.isOneIn(100))
    return random.pick(['', '{', '[]', '"x"', '{"a":1,"a":2}', '{"__proto__":1}', '\u0000']);
  const request = makeRequest(name, random, seen);
  if (name === 'SPAWN' && typeof request === 'object' && request !== null) {
    // What runs and what of the host it sees is not for luck to say.
    const {
      script: _script,
      mounts: _mounts,
      isolation: _isolation,
      network: _network,
      sandboxed: _sandboxed,
      ...rest
    } = request as Record<string, unknown>;
    return JSON.stringify({
      ...rest,
      command: random.pick([['/bin/true'], ['/bin/sleep', '1'], ['/bin/false']]),
    });
  }
  if (name === 'EXEC' && typeof request === 'object' && request !== null) {
    return JSON.stringify({
      ...(request as object),
      argv: null,
      command: random.pick(['true', 'echo x', 'exit 3', 'cat']),
    });
  }
  return JSON.stringify(request) ?? '';
}

/** null = as it should be. */
function judge(name: SyscallName, text: string, seen: Seen, report: FuzzReport): string | null {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    return 'the answer is not JSON';
  }
  seen.learn(answer);
  if (name === 'LIST' && Array.isArray(answer)) return count(report, 'OK', name);
  const { success, error, code } = answer as { success?: unknown; error?: unknown; code?: unknown };
  if (success === true) return count(report, 'OK', name);
  if (success !== false) return 'neither success nor failure';
  if (typeof error !== 'string' && name !== 'EXEC') return 'a failure without words';
  count(report, typeof code === 'string' ? code : 'none', name);
  if (code === 'INTERNAL') return 'a fault';
  return typeof code === 'string' && !Object.hasOwn(ERROR_CODES, code) ? 'a code there is not' : null;
}

function count(report: FuzzReport, code: string, name: string): null {
  report.codes[code] = (report.codes[code] ?? 0) + 1;
  if (code === 'OK') report.succeeded.add(name);
  return null;
}

async function answered(call: Promise<string>): Promise<string> {
  const late = Promise.withResolvers<never>();
  // Counted, not read off a clock: a machine that stands still for a while keeps nobody waiting.
  let seconds = 0;
  const timer = setInterval(() => {
    seconds += 1;
    if (seconds >= HANG_SECONDS) late.reject(new Error('no answer'));
  }, 1000);
  call.catch(() => {});
  try {
    return await Promise.race([call, late.promise]);
  } finally {
    clearInterval(timer);
  }
}

const connect = async (socketPath: string) => new TestClient(await RawClient.connect(socketPath));

/** An operator's client, or an agent with some level by the socket that is its own. */
async function enter(folder: string, isAgent: boolean, random: Random): Promise<TestClient> {
  const operator = await connect(path.join(folder, 'k.sock'));
  if (!isAgent) return operator;
  for (;;) {
    const answer = await operator.call('SPAWN', {
      command: ['/bin/sleep', '600'],
      permissions: random.pick(LEVELS),
    });
    const boot = readdirSync(path.join(folder, 'run')).find((name) => /^boot-\w{8}$/.test(name));
    if (answer.success === true && boot !== undefined) {
      try {
        const agent = await connect(path.join(folder, 'run', boot, `a${answer.id}.sock`));
        await operator.close();
        return agent;
      } catch {
        // Somebody killed it first.
        continue;
      }
    }
    // So many are alive that no more may be: some make room, as they would be made to.
    if (answer.code === 'OVERLOAD') {
      const listed = await operator.call('LIST');
      for (let kills = 0; kills < 20 && listed.length > 0; kills += 1) {
        await operator.call('KILL', { id: random.pick<{ id: number }>(listed).id, grace_ms: 0 });
      }
      continue;
    }
    throw new Error(`no agent could be started: ${JSON.stringify(answer)}`);
  }
}

async function startKernel(folder: string): Promise<ChildProcess> {
  const module = JSON.stringify(new URL('../../kernel/daemon.ts', import.meta.url).href);
  const options = JSON.stringify({
    socketPath: path.join(folder, 'k.sock'),
    dataDirectory: path.join(folder, 'data'),
    runDirectory: path.join(folder, 'run'),
    logLevel: 'silent',
    checkAnswers: true,
    maxAgents: 40,
    drainMs: 500,
    llm: { provider: 'mock' },
  });
  const script = `${MEMORY_PROBE} const { runDaemon } = await import(${module}); process.exit(await runDaemon(${options}));`;
  const kernel = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  for await (const line of createInterface({ input: kernel.stdout as NodeJS.ReadableStream })) {
    if (!JSON.parse(line).ready) throw new Error(line);
    return kernel;
  }
  throw new Error('the kernel did not start');
}

function clip(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
