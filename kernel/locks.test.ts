import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockDataDirectory, lockUidBlock, tryLock, UIDS_PER_KERNEL } from './locks.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-locks-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('locks', () => {
  it('admit one holder, also within one process', () => {
    const file = path.join(folder, 'a.lock');
    const lock = tryLock(file);
    expect(lock).not.toBeNull();
    expect(tryLock(file)).toBeNull();
    lock?.release();
    const again = tryLock(file);
    expect(again).not.toBeNull();
    again?.release();
  });

  it('are free again when their holder was killed', async () => {
    const file = path.join(folder, 'b.lock');
    const source = `import { tryLock } from ${JSON.stringify(path.join(import.meta.dirname, 'locks.ts'))};
      globalThis.lock = tryLock(${JSON.stringify(file)}); console.log('held'); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', source], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    expect(tryLock(file)).toBeNull();
    child.kill('SIGKILL');
    await once(child, 'exit');
    const lock = tryLock(file);
    expect(lock).not.toBeNull();
    lock?.release();
  });

  it('make a second kernel on one data directory an error that says what to do', () => {
    const lock = lockDataDirectory(folder);
    expect(() => lockDataDirectory(folder)).toThrow(
      expect.objectContaining({ code: 'ALREADY_RUNNING', hint: expect.stringContaining('data-dir') }),
    );
    lock.release();
  });

  it('give every kernel users of its own', () => {
    const one = lockUidBlock(folder);
    const two = lockUidBlock(folder);
    expect(Math.abs(one.firstUid - two.firstUid)).toBeGreaterThanOrEqual(UIDS_PER_KERNEL);
    one.release();
    const three = lockUidBlock(folder);
    expect(three.firstUid).toBe(one.firstUid);
    two.release();
    three.release();
  });
});
