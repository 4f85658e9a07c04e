// Shared by the tests of the sandbox: whole specs with small limits, outputs as text, probes compiled on the spot.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { launch, reconcile, type Sandbox, type SandboxExit, type SandboxSpec } from './index.ts';
import { ROOT_LAYERS } from './types.ts';

/** Limits included. */
export const EVERY_LAYER = ROOT_LAYERS;

/** A user for this test process alone: files run at the same time. */
export const TEST_UID = 200_000_000 + process.pid;

/** Own group of this test file: nothing of another one is touched. */
export const testParent = `clove/test-${randomBytes(4).toString('hex')}`;
let serial = 0;

export type SpecChanges = Partial<Omit<SandboxSpec, 'limits'>> & {
  readonly limits?: Partial<SandboxSpec['limits']>;
};

export function testSpec(argv: readonly string[], { limits, ...changes }: SpecChanges = {}): SandboxSpec {
  serial += 1;
  const disable = changes.disable ?? [];
  return {
    instance: `t-${process.pid}-${serial}`,
    hostname: 'box',
    argv,
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/work',
    uid: TEST_UID,
    gid: TEST_UID,
    mounts: [],
    socketPath: null,
    network: 'none',
    profile: 'default',
    require: EVERY_LAYER.filter(
      (layer) => !disable.includes(layer) && !(layer === 'netns' && changes.network === 'host'),
    ),
    disable,
    faultStep: null,
    faultErrno: 0,
    cgroupParent: testParent,
    stdin: null,
    stdout: 'pipe',
    stderr: 'pipe',
    setupTimeoutMs: 10_000,
    ...changes,
    limits: {
      memoryBytes: 128 * 2 ** 20,
      swapBytes: 0,
      cpuQuotaUs: 200_000,
      cpuPeriodUs: 100_000,
      cpuShares: null,
      cpus: null,
      maxPids: 64,
      fileSizeBytes: 16 * 2 ** 20,
      maxOpenFiles: 256,
      tmpfsBytes: 8 * 2 ** 20,
      tmpfsInodes: 256,
      ...limits,
    },
  };
}

/** A file stream would hold one of four threads for as long as the sandbox is silent: two of those, and all reading stops. */
function pipeOf(fd: number): Socket {
  return new Socket({ fd, readable: true, writable: false });
}

export async function readAll(fd: number | null): Promise<string> {
  if (fd === null) return '';
  const parts: Buffer[] = [];
  for await (const part of pipeOf(fd)) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

export interface Outcome extends SandboxExit {
  readonly sandbox: Sandbox;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs to the end and collects what was written. */
export async function runToEnd(argv: readonly string[], changes: SpecChanges = {}): Promise<Outcome> {
  const sandbox = await launch(testSpec(argv, changes));
  const [exit, stdout, stderr] = await Promise.all([
    sandbox.exited,
    readAll(sandbox.stdoutFd),
    readAll(sandbox.stderrFd),
  ]);
  return { ...exit, sandbox, stdout, stderr };
}

/** A shell script to its end. */
export function shell(script: string, changes: SpecChanges = {}): Promise<Outcome> {
  return runToEnd(['/bin/sh', '-c', script], changes);
}

/** Starts a script and waits until it has said "ready". */
export async function startReady(argv: readonly string[], changes: SpecChanges = {}): Promise<Sandbox> {
  const sandbox = await launch(testSpec(argv, changes));
  await new Promise<void>((resolve, reject) => {
    let seen = '';
    const stream = pipeOf(sandbox.stdoutFd as number);
    stream.on('data', (part) => {
      seen += String(part);
      if (seen.includes('ready')) resolve();
    });
    stream.on('end', () => reject(new Error(`ended before it was ready: ${seen}`)));
  });
  void readAll(sandbox.stderrFd);
  return sandbox;
}

const folders: string[] = [];

/** A new folder that agents may enter, with a folder `d` in it. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'clove-sandbox-test-'));
  folders.push(folder);
  chmodSync(folder, 0o755); // agents run under another user
  mkdirSync(path.join(folder, 'd'));
  return folder;
}

/** Compiles a static C++ program; returns the host path of a folder with it, called `probe`. */
export function compileProbe(source: string): string {
  const folder = temporaryFolder();
  const file = path.join(folder, 'probe.cc');
  writeFileSync(file, source);
  mkdirSync(path.join(folder, 'bin'));
  execFileSync(process.env.CXX ?? 'g++', ['-O1', '-static', '-o', path.join(folder, 'bin', 'probe'), file]);
  return path.join(folder, 'bin');
}

/** After the tests of a file: groups and folders away. */
export async function cleanUp(): Promise<void> {
  await reconcile(testParent);
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

/** Open descriptors but for the network namespace that is made ahead for the next sandbox. */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return !readlinkSync(`/proc/self/fd/${fd}`).startsWith('net:[');
    } catch {
      return false; // was that of the reading itself
    }
  }).length;
}

/** Waits until no more descriptors are open than then: the namespace made ahead takes one more for a moment. */
export async function noMoreDescriptorsThan(before: number): Promise<void> {
  for (let i = 0; i < 500 && openDescriptors() > before; i++) await sleep(2);
  const now = openDescriptors();
  if (now > before) throw new Error(`${now - before} more descriptors are open than before`);
}

/** Groups of this test file that still exist, in any hierarchy. */
export function leftoverGroups(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .flatMap((line) => {
      const parent = path.join(line.split(' ')[4] as string, testParent);
      try {
        return readdirSync(parent, { withFileTypes: true })
          .filter((entry) => entry.isDirectory())
          .map((entry) => path.join(parent, entry.name));
      } catch {
        return [];
      }
    });
}

/** Waits until no group of this test file exists: an end is told when the processes are gone, and the groups follow. */
export async function noGroupsLeft(): Promise<void> {
  for (let i = 0; i < 5000 && leftoverGroups().length > 0; i++) await sleep(2);
  const left = leftoverGroups();
  if (left.length > 0) throw new Error(`groups are left: ${left.join(' ')}`);
}

/** Processes of this machine that run under the tests' user. */
export function processesOfTestUser(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/status`, 'utf8').includes(`\nUid:\t${TEST_UID}\t`);
      } catch {
        return false;
      }
    })
    .map(Number);
}
