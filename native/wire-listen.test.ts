import { execFile } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RawClient } from '../kernel/wire/testing.ts';
import type { WireListenOptions, WireServer } from './types.ts';
import { createWireServer } from './wire.ts';

const OPTIONS: WireListenOptions = {
  principal: 0,
  mode: 0o600,
  uid: null,
  gid: null,
  allowUids: null,
  maxConnections: 100,
};

let folder: string;
let socketPath: string;
let server: WireServer;

function newServer(): WireServer {
  return createWireServer({ onOpen() {}, onRequests() {}, onClose() {} });
}

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-listen-'));
  socketPath = path.join(folder, 'clove.sock');
  server = newServer();
});

afterEach(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

async function answers(at: string): Promise<boolean> {
  const client = await RawClient.connect(at);
  const { opcode } = await client.call({ opcode: 0 });
  await client.close();
  return opcode === 0;
}

/** A socket file that nobody serves any more. */
async function leaveStaleSocket(at: string): Promise<void> {
  const body = `require('node:net').createServer().listen(${JSON.stringify(at)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await promisify(execFile)(process.execPath, ['-e', body]).catch(() => {});
  expect(lstatSync(at).isSocket()).toBe(true);
}

describe('listen', () => {
  it('sets mode and owner whatever the umask is', async (ctx) => {
    const before = process.umask(0o077);
    try {
      server.listen(socketPath, { ...OPTIONS, mode: 0o666 });
    } finally {
      process.umask(before);
    }
    expect(statSync(socketPath).mode & 0o777).toBe(0o666);
    expect(await answers(socketPath)).toBe(true);
    if (process.getuid?.() !== 0) ctx.skip('only root can give a file away');
    const owned = path.join(folder, 'owned.sock');
    process.umask(0);
    try {
      server.listen(owned, { ...OPTIONS, uid: 65_533, gid: 65_532 });
    } finally {
      process.umask(before);
    }
    expect(statSync(owned)).toMatchObject({ uid: 65_533, gid: 65_532 });
    expect(statSync(owned).mode & 0o777).toBe(0o600);
  });

  it('replaces a socket file that nobody serves', async () => {
    await leaveStaleSocket(socketPath);
    server.listen(socketPath, OPTIONS);
    expect(await answers(socketPath)).toBe(true);
  });

  it('refuses a socket that somebody serves, this process included', async () => {
    const other = net.createServer().listen(socketPath);
    await new Promise((resolve) => other.once('listening', resolve));
    const refusal = expect.objectContaining({
      code: 'ALREADY_RUNNING',
      hint: expect.stringContaining('Stop'),
    });
    expect(() => server.listen(socketPath, OPTIONS)).toThrow(refusal);
    expect(existsSync(socketPath)).toBe(true);
    await new Promise((resolve) => other.close(resolve));
    server.listen(socketPath, OPTIONS);
    expect(() => server.listen(socketPath, OPTIONS)).toThrow(refusal);
    const second = newServer();
    expect(() => second.listen(socketPath, OPTIONS)).toThrow(refusal);
    second.close();
    expect(await answers(socketPath)).toBe(true);
  });

  it('refuses anything else that has the name, and follows no link', async () => {
    const refusal = expect.objectContaining({ code: 'IO' });
    writeFileSync(socketPath, 'precious');
    expect(() => server.listen(socketPath, OPTIONS)).toThrow(refusal);
    const link = path.join(folder, 'link.sock');
    await leaveStaleSocket(path.join(folder, 'target.sock'));
    symlinkSync(path.join(folder, 'target.sock'), link);
    expect(() => server.listen(link, OPTIONS)).toThrow(refusal);
    expect(readdirSync(folder).sort()).toEqual(['clove.sock', 'link.sock', 'target.sock']);
  });

  it('says what is wrong with a path', () => {
    const long = `${folder}/${'x'.repeat(108 - folder.length - 1)}`;
    expect(() => server.listen(long, OPTIONS)).toThrow(
      expect.objectContaining({ code: 'BAD_REQUEST', message: expect.stringContaining('107') }),
    );
    expect(() => server.listen('', OPTIONS)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
    const longest = long.slice(0, 107);
    server.listen(longest, OPTIONS);
    expect(existsSync(longest)).toBe(true);
    expect(() => server.listen(path.join(folder, 'none', 'a.sock'), OPTIONS)).toThrow(
      expect.objectContaining({ code: 'IO', details: expect.objectContaining({ errno: 2 }) }),
    );
  });

  it('refuses options that make no sense', () => {
    for (const wrong of [{ principal: 2 ** 30 }, { mode: 0o1777 }, { uid: -1 }, { maxConnections: 1.5 }]) {
      expect(() => server.listen(socketPath, { ...OPTIONS, ...wrong })).toThrow(
        expect.objectContaining({ code: 'BAD_REQUEST' }),
      );
    }
    expect(existsSync(socketPath)).toBe(false);
  });

  it('lets exactly one of several servers have the path when they start at once', async () => {
    await leaveStaleSocket(socketPath);
    const body = `
      import { createWireServer } from ${JSON.stringify(path.join(import.meta.dirname, 'wire.ts'))};
      const server = createWireServer({ onOpen() {}, onRequests() {}, onClose() {} });
      try {
        server.listen(${JSON.stringify(socketPath)}, ${JSON.stringify(OPTIONS)});
        console.log('SERVING');
      } catch (error) {
        console.log(error.code);
        server.close();
      }
      process.stdin.on('end', () => server.close()).resume();
    `;
    const children = Array.from({ length: 4 }, () => {
      const child = execFile(process.execPath, ['--input-type=module-typescript', '-e', body]);
      const said = new Promise<string>((resolve) =>
        child.stdout?.once('data', (text) => resolve(text.trim())),
      );
      const exited = new Promise((resolve) => child.once('exit', resolve));
      return { child, said, exited };
    });
    const outcomes = await Promise.all(children.map(({ said }) => said));
    expect(outcomes.sort()).toEqual(['ALREADY_RUNNING', 'ALREADY_RUNNING', 'ALREADY_RUNNING', 'SERVING']);
    expect(await answers(socketPath)).toBe(true);
    for (const { child } of children) child.stdin?.end();
    await Promise.all(children.map(({ exited }) => exited));
    expect(existsSync(socketPath)).toBe(false);
  });
});

describe('the end of a listener', () => {
  it('removes its file, but not one that has taken its place', async () => {
    const listener = server.listen(socketPath, OPTIONS);
    const moved = path.join(folder, 'moved.sock');
    renameSync(socketPath, moved);
    const other = newServer();
    other.listen(socketPath, OPTIONS);
    server.closeListener(listener);
    expect(await answers(socketPath)).toBe(true);
    other.close();
    expect(existsSync(socketPath)).toBe(false);
    expect(existsSync(moved)).toBe(true);
  });
});
