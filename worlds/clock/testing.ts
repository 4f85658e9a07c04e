// Shared by the tests of mounted clocks: plain processes in control groups of their own, under one world's clock.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { unifiedMount } from './control-group.ts';
import { type ClockInput, clockSchema, createMountedClock, type MountedClock } from './index.ts';
import type { MountedClockOptions } from './mounted.ts';

export { unifiedMount };

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Real time from start to end. */
  readonly realMs: number;
}

export interface StartOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** False: without the library. */
  readonly preload?: boolean;
  readonly connectsOutside?: boolean;
}

export interface Started {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  /** Resolves when the process has written this. */
  wrote(text: string): Promise<void>;
  /** What it has written so far. */
  output(): string;
}

/** A world with a clock, and processes in it. */
export class ClockFixture {
  readonly world: MountedClock;
  /** Host folders of the control groups of its processes. */
  readonly groups: string[] = [];
  readonly #children: ChildProcess[] = [];
  #lastAgent = 0;

  constructor(input: ClockInput, options: MountedClockOptions = {}) {
    this.world = createMountedClock(clockSchema.parse(input), options);
  }

  /** Starts a program that the clock covers. */
  start(
    argv: readonly string[],
    { env = {}, preload = true, connectsOutside = false }: StartOptions = {},
  ): Started {
    this.#lastAgent += 1;
    const agent = this.#lastAgent;
    const group = path.join(unifiedMount() ?? '', `clove-clock-test-${process.pid}-${agent}-${Date.now()}`);
    mkdirSync(group);
    this.groups.push(group);
    const attached = this.world.attachment(agent, { ownFiles: false, connectsOutside });
    const startedAt = performance.now();
    // The shell enters the group before anything of the program runs.
    const child = spawn(
      '/bin/sh',
      [
        '-c',
        'echo $$ > "$0/cgroup.procs" && exec "$@"',
        group,
        '/usr/bin/env',
        ...assignments(preload ? attached.env : {}),
        ...argv,
      ],
      {
        env: { PATH: process.env.PATH, HOME: '/tmp', LANG: 'C.UTF-8', ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    this.#children.push(child);
    this.world.admit(agent, group);
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (part: Buffer) => {
      stdout += String(part);
    });
    child.stderr?.on('data', (part: Buffer) => {
      stderr += String(part);
    });
    const finished = new Promise<Finished>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => {
        resolve({ code, signal, stdout, stderr, realMs: performance.now() - startedAt });
        this.world.release(agent);
      });
    });
    return {
      child,
      finished,
      output: () => stdout,
      wrote: async (text) => {
        while (!stdout.includes(text)) {
          if (child.exitCode !== null) throw new Error(`ended without "${text}": ${stdout}${stderr}`);
          await delay(5);
        }
      },
    };
  }

  run(argv: readonly string[], options: StartOptions = {}): Promise<Finished> {
    return this.start(argv, options).finished;
  }

  async close(): Promise<void> {
    for (const child of this.#children) if (child.exitCode === null) child.kill('SIGKILL');
    this.world.close();
    for (const group of this.groups.splice(0)) await removeGroup(group);
  }
}

function assignments(env: Readonly<Record<string, string>>): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}

/** With whatever a program left behind in it. */
export async function removeGroup(group: string): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    for (const pid of readFileSync(path.join(group, 'cgroup.procs'), 'utf8').trim().split('\n'))
      if (pid !== '') {
        try {
          process.kill(Number(pid), 'SIGKILL');
        } catch {
          // gone meanwhile
        }
      }
    try {
      rmdirSync(group);
      return;
    } catch {
      await delay(10);
    }
  }
}
