import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { expect, it } from 'vitest';
import { hostCapabilities } from '../native/index.ts';
import { openBoot, reconcileBoots } from './boot.ts';
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
    const boot = openBoot(runDirectory, () => id);
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
    await reconcileBoots(runDirectory, createLog('silent'));
  } finally {
    if (existsSync(group)) rmdirSync(group);
    rmSync(runDirectory, { recursive: true, force: true });
  }
});
