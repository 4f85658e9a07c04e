import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { hostCapabilities, reconcile } from '../native/index.ts';
import { openBoot } from './boot.ts';
import { DeadBoots } from './dead-boots.ts';
import { TestKernel, until } from './fixture.ts';
import { FIRST_UID, UIDS_PER_KERNEL } from './locks.ts';
import { createLog } from './log.ts';

/** A group that a process holds as kernels do. Until it is held, any kernel that starts meanwhile takes it for a dead one's. */
async function heldGroup(group: string): Promise<ChildProcessByStdio<Writable, Readable, null>> {
  for (;;) {
    mkdirSync(group, { recursive: true });
    const holder = spawn('flock', [group, 'sh', '-c', 'echo held; read line'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit')]);
    if (holder.exitCode === null && existsSync(group)) return holder;
    holder.stdin.end();
  }
}

it('waits for another kernel that clears up the groups of the same dead boot', async (context) => {
  const { cgroup2Path } = hostCapabilities();
  if (process.geteuid?.() !== 0 || cgroup2Path === null) context.skip('needs root and cgroup v2');
  const runDirectory = mkdtempSync(path.join(tmpdir(), 'clove-boot-'));
  const id = randomBytes(4).toString('hex');
  const group = path.join(cgroup2Path as string, 'clove', id);
  try {
    const boot = openBoot(runDirectory, () => id, createLog('silent'));
    // As its process leaves it: the folder and the lock file, nobody who holds the lock, and a group.
    const other = await heldGroup(group);
    const removed = boot.remove();
    const winner = await Promise.race([
      removed.then(() => 'removed'),
      new Promise((resolve) => setTimeout(resolve, 200, 'waits')),
    ]);
    expect(winner).toBe('waits');
    other.stdin.end('\n');
    await removed;
    expect(readdirSync(runDirectory)).toEqual([]);
    expect(existsSync(group)).toBe(false);
    const dead = new DeadBoots(runDirectory, createLog('silent'));
    await dead.clear();
    await dead.close();
  } finally {
    if (existsSync(group)) rmdirSync(group);
    rmSync(runDirectory, { recursive: true, force: true });
  }
});

/** Where the freezer of version 1 is mounted. */
function freezerPath(): string | null {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((mount) => / - cgroup \S+ (?:\S+,)?freezer(?:,|$)/.test(mount));
  return line?.split(' ')[4] ?? null;
}

/** A process of a user, frozen by somebody else: no SIGKILL ends it before it is thawed. */
class Frozen {
  readonly pid: number;
  readonly #freezer: string;
  readonly #process: ChildProcess | null;

  /** `of`: a process that is there already, or the user of a new one. */
  constructor(freezer: string, groups: readonly string[], of: { pid: number } | { uid: number }) {
    this.#process =
      'uid' in of ? spawn('sleep', ['3600'], { stdio: 'ignore', uid: of.uid, gid: of.uid }) : null;
    this.pid = 'pid' in of ? of.pid : (this.#process?.pid as number);
    this.#freezer = path.join(freezer, `clove-test-${randomBytes(4).toString('hex')}`);
    for (const group of [...groups, this.#freezer]) {
      mkdirSync(group, { recursive: true });
      writeFileSync(path.join(group, 'cgroup.procs'), String(this.pid));
    }
    writeFileSync(path.join(this.#freezer, 'freezer.state'), 'FROZEN');
  }

  async end(): Promise<void> {
    if (!existsSync(this.#freezer)) return;
    // Before it is thawed: it may have been told to end already, and would be gone.
    process.kill(this.pid, 'SIGKILL');
    writeFileSync(path.join(this.#freezer, 'freezer.state'), 'THAWED');
    if (this.#process !== null && this.#process.exitCode === null && this.#process.signalCode === null)
      await once(this.#process, 'exit');
    await until(() => {
      try {
        rmdirSync(this.#freezer);
      } catch {
        return false; // the process is not wholly gone
      }
      return true;
    });
  }
}

const freezer = freezerPath();
const { cgroup2Path } = hostCapabilities();
const isPossible = process.geteuid?.() === 0 && cgroup2Path !== null && freezer !== null;

const NOBODY = 65_534;
/** Of the last block, which no kernel that runs beside these tests gets. */
const LAST_UID = FIRST_UID + 256 * UIDS_PER_KERNEL - 1;

describe.skipIf(!isPossible)(
  'what a dead kernel left and cannot end (needs root, cgroup v2 and the freezer of v1)',
  () => {
    const undo: (() => void | Promise<void>)[] = [];
    afterEach(async () => {
      for (const step of undo.splice(0).reverse()) await step();
    });

    /** A group of a kernel that is no more, with a frozen process in it. */
    function deadBoot(uid = 0) {
      const id = randomBytes(4).toString('hex');
      const group = path.join(cgroup2Path as string, 'clove', id);
      const process = new Frozen(freezer as string, [path.join(group, '1')], { uid });
      undo.push(() => process.end());
      return { id, group, process };
    }

    it('does not keep the next kernel from answering, and is cleared once it can be', async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'clove-boot-'));
      undo.push(() => rmSync(folder, { recursive: true, force: true }));
      const runDirectory = path.join(folder, 'run');
      mkdirSync(runDirectory, { mode: 0o700 });
      const own = deadBoot();
      const foreign = deadBoot();
      // As its process leaves it: nobody holds the lock.
      writeFileSync(path.join(runDirectory, `boot-${own.id}.lock`), '');
      mkdirSync(path.join(runDirectory, `boot-${own.id}`));
      const kernel = await TestKernel.boot({ runDirectory });
      undo.push(() => kernel.close());
      expect(kernel.running.kernel.deadBoots.staying).toContain(own.id);
      const client = await kernel.connect();
      expect((await client.run({ command: ['/bin/echo', 'lives'], restart_policy: 'never' })).stdout).toBe(
        'lives\n',
      );
      expect(existsSync(own.group)).toBe(true);
      await own.process.end();
      await foreign.process.end();
      await until(() => !existsSync(own.group) && !existsSync(foreign.group));
      await until(() => readdirSync(runDirectory).every((name) => !name.includes(own.id)));
      expect(kernel.running.kernel.deadBoots.staying).not.toContain(own.id);
    });

    it('keeps its users from being given to agents', async () => {
      const runDirectory = mkdtempSync(path.join(tmpdir(), 'clove-boot-'));
      undo.push(() => rmSync(runDirectory, { recursive: true, force: true }));
      const { id, process } = deadBoot(LAST_UID);
      writeFileSync(path.join(runDirectory, `boot-${id}.lock`), '');
      const dead = new DeadBoots(runDirectory, createLog('silent'));
      undo.push(() => dead.close());
      await dead.clear();
      expect(dead.users.has(LAST_UID)).toBe(true);
      dead.clearOn();
      await process.end();
      await until(() => !dead.users.has(LAST_UID));
    });

    it('keeps its users from being given to agents also by a kernel that starts while another one clears it', async () => {
      const runDirectory = mkdtempSync(path.join(tmpdir(), 'clove-boot-'));
      undo.push(() => rmSync(runDirectory, { recursive: true, force: true }));
      const { id, group, process } = deadBoot(LAST_UID);
      writeFileSync(path.join(runDirectory, `boot-${id}.lock`), '');
      const first = new DeadBoots(runDirectory, createLog('silent'));
      undo.push(() => first.close());
      const second = new DeadBoots(runDirectory, createLog('silent'));
      undo.push(() => second.close());
      await Promise.all([first.clear(), second.clear()]);
      expect([first.users.has(LAST_UID), second.users.has(LAST_UID)]).toEqual([true, true]);
      // The first one does not go on: what it could not end is the second one's to clear.
      second.clearOn();
      await process.end();
      await until(() => !existsSync(group) && !second.users.has(LAST_UID));
      await until(() => readdirSync(runDirectory).length === 0);
    });

    it('is left alone by a kernel of another user, who could not end it', async () => {
      const runDirectory = mkdtempSync(path.join(tmpdir(), 'clove-boot-'));
      undo.push(() => rmSync(runDirectory, { recursive: true, force: true }));
      chownSync(runDirectory, NOBODY, NOBODY);
      const { id } = deadBoot();
      const dead = new DeadBoots(runDirectory, createLog('silent'));
      undo.push(() => dead.close());
      process.seteuid?.(NOBODY);
      try {
        await dead.clear();
      } finally {
        process.seteuid?.(0);
      }
      expect(dead.staying).not.toContain(id);
    });

    it('is named by whoever is to clear it', async () => {
      const { id, group, process } = deadBoot();
      await until(async () => {
        const error = await reconcile(`clove/${id}`).catch((error: unknown) => error);
        // CONFLICT: a kernel that starts at this moment clears it up as well.
        expect(error).toMatchObject({ code: expect.stringMatching(/^(TIMEOUT|CONFLICT)$/) });
        return (
          (error as { code: string }).code === 'TIMEOUT' && String(error).includes(path.join(group, '1'))
        );
      });
      await process.end();
      await until(async () => {
        await reconcile(`clove/${id}`).catch(() => {});
        return !existsSync(group);
      });
    });

    it('is thawed where a dead kernel itself has frozen it', async () => {
      const id = `test-${randomBytes(4).toString('hex')}`;
      const parent = path.join(freezer as string, 'clove', id);
      const group = path.join(parent, '1');
      const frozen = spawn('sleep', ['3600'], { stdio: 'ignore' });
      const ended = once(frozen, 'exit');
      mkdirSync(group, { recursive: true });
      writeFileSync(path.join(group, 'cgroup.procs'), String(frozen.pid));
      writeFileSync(path.join(group, 'freezer.state'), 'FROZEN');
      await reconcile(`clove/${id}`);
      expect(await ended).toEqual([null, 'SIGKILL']);
      expect(existsSync(parent)).toBe(false);
    });

    it('does not keep a kernel from stopping, which leaves what it is found by and nothing else', async () => {
      const runDirectory = mkdtempSync(path.join(tmpdir(), 'clove-boot-'));
      undo.push(() => rmSync(runDirectory, { recursive: true, force: true }));
      const { id, group, process } = deadBoot();
      const boot = openBoot(runDirectory, () => id, createLog('silent'));
      writeFileSync(path.join(boot.directory, 'a1.sock'), '');
      await boot.remove();
      expect(readdirSync(runDirectory)).toEqual([`boot-${id}.lock`]);
      await process.end();
      const next = new DeadBoots(runDirectory, createLog('silent'));
      undo.push(() => next.close());
      await next.clear();
      next.clearOn();
      await until(() => readdirSync(runDirectory).length === 0 && !existsSync(group));
    });

    it('does not keep a kernel from stopping whose agent it is', async () => {
      const kernel = await TestKernel.boot();
      undo.push(() => kernel.close());
      const client = await kernel.connect();
      const { id } = await client.spawn({ command: ['/bin/sleep', '1000'], restart_policy: 'never' });
      const pid = kernel.running.kernel.agents.get(id)?.sandbox?.pid as number;
      const frozen = new Frozen(freezer as string, [], { pid });
      undo.push(() => frozen.end());
      await kernel.running.close();
      const runDirectory = path.join(kernel.folder, 'run');
      expect(readdirSync(runDirectory)).toEqual([`boot-${kernel.running.bootId}.lock`]);
      await frozen.end();
      const next = new DeadBoots(runDirectory, createLog('silent'));
      undo.push(() => next.close());
      await next.clear();
      next.clearOn();
      await until(() => readdirSync(runDirectory).length === 0);
    });
  },
);
