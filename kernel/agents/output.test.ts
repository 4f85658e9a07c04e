import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readlinkSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it, vi } from 'vitest';
import { LogBuffer } from './logs.ts';
import { OutputReader } from './output.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'clove-output-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const reader = new OutputReader();
afterAll(() => reader.close());

let pipes = 0;
/** Both ends of a new pipe; ours does not block. */
function pipe(): { readonly ours: number; readonly theirs: number } {
  pipes += 1;
  const name = path.join(folder, `pipe-${pipes}`);
  execFileSync('mkfifo', [name]);
  const ours = openSync(name, constants.O_RDONLY | constants.O_NONBLOCK);
  return { ours, theirs: openSync(name, constants.O_WRONLY) };
}

/** The number may be another file's by now. */
function isOpen(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).startsWith(folder);
  } catch {
    return false;
  }
}

it('what an agent left in its pipe is there when it has ended, at once', async () => {
  const { ours, theirs } = pipe();
  const log = new LogBuffer(100_000);
  const output = reader.drain(ours, log);
  writeSync(theirs, 'x'.repeat(60_000));
  closeSync(theirs);
  output.takeRest();
  expect(log.totalBytes).toBe(60_000);
  expect(isOpen(ours)).toBe(false);
  await output.ended;
  // Nothing is left to do for either of these.
  output.takeRest();
  output.destroy();
});

it('a writer that is left is waited for', async () => {
  const { ours, theirs } = pipe();
  const log = new LogBuffer(1000);
  const output = reader.drain(ours, log);
  writeSync(theirs, 'first ');
  output.takeRest();
  expect(log.tail().toString()).toBe('first ');
  writeSync(theirs, 'second');
  closeSync(theirs);
  await output.ended;
  expect(log.tail().toString()).toBe('first second');
  await vi.waitUntil(() => !isOpen(ours));
});

it('an agent that lives is listened to', async () => {
  const { ours, theirs } = pipe();
  const log = new LogBuffer(1000);
  const output = reader.drain(ours, log);
  writeSync(theirs, 'hello');
  await vi.waitUntil(() => log.totalBytes === 5, { timeout: 20_000 });
  output.takeRest();
  writeSync(theirs, ' again');
  await vi.waitUntil(() => log.totalBytes === 11, { timeout: 20_000 });
  output.destroy();
  await output.ended;
  closeSync(theirs);
});

it('is given up before anybody listens', async () => {
  const { ours, theirs } = pipe();
  const output = reader.drain(ours, new LogBuffer(1000));
  output.destroy();
  await output.ended;
  expect(isOpen(ours)).toBe(false);
  closeSync(theirs);
});
