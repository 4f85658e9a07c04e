// A kernel in a process of its own that ends by SIGKILL at a named step of a setup, with agents living, and is started again:
// what is left of it then. Shared by the test and by bench/micro/deaths.ts.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CloveClient, connect } from '../../sdk/typescript/index.ts';

export interface Death {
  readonly step: string;
  /** False: this setup has no such step, and the kernel was killed after it. */
  readonly reached: boolean;
  /** Whether anything of the agent ran whose setup was cut off. */
  readonly ran: boolean;
  /** From the start of the next kernel until it answers, and until nothing was left. */
  readonly readyMs: number;
  readonly cleanMs: number;
  /** What was there still when the time was over. */
  readonly left: readonly string[];
}

const START = `const { runDaemon } = await import(process.argv[1]); process.exit(await runDaemon(JSON.parse(process.argv[2])));`;
const PATIENCE_MS = 30_000;
const LANES = 4;

/** Kernels in one folder, one after the other: each is the one after the death of the last. */
export class DyingKernel {
  readonly #folder: string;
  readonly #agents: number;
  #process: ChildProcess | null = null;
  #client: CloveClient | null = null;
  #bootId = '';

  constructor(folder: string, agents: number) {
    this.#folder = folder;
    this.#agents = agents;
    mkdirSync(this.#markFolder, { recursive: true });
  }

  get #runFolder(): string {
    return path.join(this.#folder, 'run');
  }

  get #markFolder(): string {
    return path.join(this.#folder, 'mark');
  }

  async #start(): Promise<CloveClient> {
    const options = {
      socketPath: path.join(this.#folder, 'k.sock'),
      dataDirectory: path.join(this.#folder, 'data'),
      runDirectory: this.#runFolder,
      logLevel: 'silent',
      drainMs: 500,
    };
    const module = new URL(`../../kernel/daemon${path.extname(import.meta.filename)}`, import.meta.url).href;
    const kernel = spawn(
      process.execPath,
      ['--input-type=module', '-e', START, module, JSON.stringify(options)],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...process.env, CLOVE_TEST_DEATHS: '1' },
      },
    );
    this.#process = kernel;
    for await (const line of createInterface({ input: kernel.stdout as NodeJS.ReadableStream })) {
      const { ready, boot } = JSON.parse(line) as { ready: boolean; boot: string };
      if (!ready) throw new Error(line);
      this.#bootId = boot;
      this.#client = await connect({ socketPath: options.socketPath, reconnect: false });
      return this.#client;
    }
    throw new Error('the kernel did not start');
  }

  async dieAt(step: string): Promise<Death> {
    const client = this.#client ?? (await this.#start());
    const kernel = this.#process as ChildProcess;
    const ended = once(kernel, 'exit');
    let left = this.#agents;
    const lane = async () => {
      while (left > 0) {
        left -= 1;
        await client.spawn({ command: ['/bin/sleep', '3600'], persist: false, restart_policy: 'never' });
      }
    };
    // A busy machine that is asked for a hundred at once takes longer over the last than a setup may take.
    await Promise.all(Array.from({ length: LANES }, lane));
    const bootId = this.#bootId;
    const mark = path.join(this.#markFolder, step);
    rmSync(mark, { force: true });
    const reached = await client
      .spawn({
        command: ['/bin/sh', '-c', `echo > /mark/${step}; exec sleep 3600`, 'clove-test-die-at', step],
        mounts: [{ source: this.#markFolder, target: '/mark', readonly: false }],
        limits: { cpus: '0' },
        persist: false,
        restart_policy: 'never',
      })
      .then(
        () => false,
        () => true,
      );
    if (!reached) kernel.kill('SIGKILL');
    await ended;
    await client.close();
    const ran = reached && existsSync(mark);
    const startedMs = performance.now();
    await this.#start();
    const readyMs = performance.now() - startedMs;
    let remains = leftOf(bootId, this.#runFolder);
    while (remains.length > 0 && performance.now() - startedMs < PATIENCE_MS) {
      await sleep(5);
      remains = leftOf(bootId, this.#runFolder);
    }
    return { step, reached, ran, readyMs, cleanMs: performance.now() - startedMs, left: remains };
  }

  async close(): Promise<void> {
    await this.#client?.close();
    const kernel = this.#process;
    if (kernel === null || kernel.exitCode !== null || kernel.signalCode !== null) return;
    const ended = once(kernel, 'exit');
    kernel.kill('SIGTERM');
    await ended;
  }
}

/** Everything that bears the name of a boot: processes by their groups, groups, mounts, sockets, folders, locks. */
export function leftOf(bootId: string, runFolder: string): string[] {
  const mounts = lines('/proc/self/mountinfo');
  const groups = mounts
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => `${line.split(' ')[4]}/clove/${bootId}`);
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => lines(`/proc/${pid}/cgroup`).some((line) => line.includes(bootId)));
  return [
    ...processes.map((pid) => `process ${pid}`),
    ...groups.filter((group) => existsSync(group)).map((group) => `group ${group}`),
    ...mounts.filter((line) => line.includes(bootId)).map((line) => `mount ${line}`),
    ...lines('/proc/net/unix').filter((line) => line.includes(bootId)),
    ...readdirSync(runFolder).filter((name) => name.includes(bootId)),
  ];
}

function lines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return []; // a process that has just ended
  }
}
