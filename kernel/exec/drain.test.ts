import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { drain } from './drain.ts';

let folder: string;
let reader: Socket;
let writer: number;
let text: string;
let ended: Promise<unknown>;

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-drain-'));
  const fifo = path.join(folder, 'pipe');
  await once(spawn('mkfifo', [fifo]), 'exit');
  const readEnd = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  writer = openSync(fifo, 'w');
  reader = new Socket({ fd: readEnd, readable: true, writable: false });
  text = '';
  reader.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  ended = new Promise((resolve) => reader.once('close', resolve));
});
afterEach(() => rmSync(folder, { recursive: true }));

const draining = () => ({ ended, readBytes: () => reader.bytesRead, giveUp: () => reader.destroy() });

function holdUp(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

describe('drain', () => {
  it('reads what was written before the end, also when this process was held up past the grace', async () => {
    writeSync(writer, 'x'.repeat(60_000));
    closeSync(writer);
    const done = drain(draining(), 5);
    holdUp(40);
    await done;
    expect(text).toHaveLength(60_000);
  });

  it('does not wait for a pipe that is held open, but has read what was in it', async () => {
    writeSync(writer, 'left behind');
    const done = drain(draining(), 5);
    holdUp(40);
    await done;
    expect(text).toBe('left behind');
    closeSync(writer);
  });
});
