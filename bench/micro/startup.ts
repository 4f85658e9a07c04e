/**
 * How long a kernel takes to be ready with many agents to start again and a long audit log.
 * Usage: node bench/micro/startup.ts [agents=10000] [records=1000000] [runs=5] [--profile]
 * The agents' program is not there, so that none of them gets in the way: what is measured is the kernel.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { ChainWriter } from '../../kernel/audit/chain-writer.ts';
import { chainOf } from '../../kernel/audit/chains.ts';
import { logFilesOf } from '../../kernel/audit/offline.ts';
import { createKernel } from '../../kernel/kernel.ts';

const positional = process.argv.slice(2).filter((arg) => !arg.startsWith('--'));
const [agents = 10_000, records = 1_000_000, runs = 5] = positional.map(Number);
const isProfiled = process.argv.includes('--profile');

const folder = mkdtempSync(path.join(tmpdir(), 'clove-startup-'));
const options = {
  socketPath: path.join(folder, 'k.sock'),
  dataDirectory: path.join(folder, 'data'),
  runDirectory: path.join(folder, 'run'),
  logLevel: 'silent' as const,
};

try {
  await prepare();
  const bare = await start(['-e', 'console.log(JSON.stringify({ ready: true }))']);
  console.log(`bare Node: ${bare.readyMs.toFixed(0)} ms, processor ${bare.cpuMs} ms`);
  for (let run = 0; run < runs; run += 1) {
    const { readyMs, cpuMs } = await start(daemon());
    console.log(`ready after ${readyMs.toFixed(0)} ms, processor ${cpuMs} ms`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** A data directory as a kernel leaves it that ran so many agents and recorded so much. */
async function prepare(): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const kernel = await createKernel(options);
  await kernel.close();
  const database = new DatabaseSync(logFilesOf(options.dataDirectory).databasePath);
  database.exec('PRAGMA synchronous = OFF; BEGIN');
  const insert = database.prepare(
    'INSERT INTO agents (id, name, spec, restart, authority, names) VALUES (?, ?, ?, ?, ?, ?)',
  );
  for (let id = 1; id <= agents; id += 1) {
    const name = `agent-${id}`;
    const request = {
      name,
      command: ['/nonexistent/program', String(id)],
      restart_policy: 'always',
      env: { A: 'b' },
    };
    const spec = { parentId: 0, above: [], spawnedAt: Date.now(), request, seed: '1', isScriptKept: false };
    const restart = { count: 0, consecutive: 0, recentWallMs: [], pending: null };
    const quotas = {
      limits: {
        messages: null,
        stateBytes: null,
        llmCalls: null,
        llmTokens: null,
        agents: null,
        syscallsPerSecond: null,
      },
      used: { messages: 0, llmCalls: 0, llmTokens: 0 },
    };
    const authority = { permissions: { grants: { level: 'default' }, ceiling: null }, quotas };
    insert.run(
      id,
      name,
      ...([spec, restart, authority, [name]].map((each) => JSON.stringify(each)) as [
        string,
        string,
        string,
        string,
      ]),
    );
  }
  const writer = new ChainWriter(database, () => Number.MAX_SAFE_INTEGER);
  const chains = (['SECURITY', 'SYSCALL', 'IPC', 'STATE_STORE'] as const).flatMap((category) => [
    chainOf(category, 'operators'),
    chainOf(category, 'agents'),
  ]);
  const body = `{"boot":"00000000","decision":"allow","details":{"path":"/work/${'x'.repeat(60)}"},"event_type":"SYSCALL","subject":{"id":1}}`;
  for (let at = 0; at < records; at += 1) {
    writer.append({ chain: chains[at % chains.length] as number, agentId: 1 + (at % agents), body });
  }
  database.exec(
    `INSERT OR REPLACE INTO audit_settings (key, value) VALUES ('config', '${JSON.stringify({
      max_entries: 10_000_000,
      log_syscalls: true,
      log_security: true,
      log_lifecycle: true,
      log_ipc: false,
      log_state: false,
      log_resource: true,
      log_network: false,
      log_world: false,
    })}')`,
  );
  database.exec('COMMIT');
  database.close();
  // Its anchor is behind by what was written here, as after a crash.
}

function daemon(): string[] {
  const module = JSON.stringify(new URL('../../kernel/daemon.ts', import.meta.url).href);
  const script = `const { runDaemon } = await import(${module}); process.exit(await runDaemon(${JSON.stringify(options)}));`;
  return [
    ...(isProfiled ? ['--cpu-prof', `--cpu-prof-dir=${process.cwd()}`] : []),
    '--input-type=module',
    '-e',
    script,
  ];
}

/** Of all its threads. ms */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** From the start of the process to its word that it is ready, and the processor time it took. ms */
async function start(args: readonly string[]): Promise<{ readyMs: number; cpuMs: number }> {
  const begun = performance.now();
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    // As `clove kernel start` has it.
    env: { ...process.env, NODE_COMPILE_CACHE: path.join(folder, 'cache') },
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  let readyMs = Number.NaN;
  let cpuMs = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    readyMs = performance.now() - begun;
    cpuMs = cpuOf(child.pid ?? 0);
    if (JSON.parse(line).ready !== true) throw new Error(line);
    break;
  }
  child.kill(isProfiled ? 'SIGTERM' : 'SIGKILL');
  await ended;
  return { readyMs, cpuMs };
}
