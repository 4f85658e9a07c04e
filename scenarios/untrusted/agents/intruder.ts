/**
 * Tries what it is told to try, and tells how it went. Everything it is pointed at was put there by the oracle to be attacked; where
 * nothing stops it, it does no harm.
 */
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect as dial } from 'node:net';
import type * as Sdk from '../../../sdk/typescript/index.ts';

const SOCKET_MS = 2000;
const CHILD_MS = 1500;

const { connect }: typeof Sdk = await import('clove/sdk' as string);
const clove = await connect();

type Order = Readonly<Record<string, unknown>>;
const codeOf = (error: unknown) => (error as { code?: string }).code ?? String(error);

function dialled(target: { host: string; port: number } | { path: string }): Promise<string> {
  return new Promise((resolve) => {
    const socket = dial(target as { path: string });
    const timer = setTimeout(() => resolve('ETIMEDOUT'), SOCKET_MS);
    const end = (word: string) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(word);
    };
    socket.once('connect', () => socket.end('hello from inside', () => end('connected')));
    socket.once('error', (error) => end(codeOf(error)));
  });
}

function sent(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', (error) => resolve(codeOf(error)));
    socket.send('hello from inside', port, '127.0.0.1', (error) => {
      socket.close();
      resolve(error === null ? 'sent' : codeOf(error));
    });
  });
}

/** A process in a user namespace of its own would be root there: the first step of many ways out. */
function unshared(): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn('/usr/bin/unshare', ['--user', '--map-root-user', 'sleep', '1'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let words = '';
    child.stderr.on('data', (chunk) => {
      words += chunk;
    });
    child.once('error', (error) => resolve(codeOf(error)));
    child.once('exit', (code) => resolve(code === 0 ? 'done' : words.trim() || `exit ${code}`));
    setTimeout(() => resolve('runs'), CHILD_MS).unref();
  });
}

function attempt<Result>(what: () => Result): Result | string {
  try {
    return what();
  } catch (error) {
    return codeOf(error);
  }
}

const asked = async (call: () => Promise<unknown>) => {
  try {
    await call();
    return 'allowed';
  } catch (error) {
    return codeOf(error);
  }
};

async function execute(order: Order): Promise<unknown> {
  const path = String(order.path ?? '');
  switch (order.try) {
    case 'tcp':
      return await dialled({ host: '127.0.0.1', port: Number(order.port) });
    case 'udp':
      return await sent(Number(order.port));
    case 'socket':
      return await dialled({ path });
    case 'read':
      return attempt(() => readFileSync(path, 'utf8'));
    case 'write':
      return attempt(() => {
        writeFileSync(path, 'was here');
        return 'written';
      });
    case 'open-for-writing':
      return attempt(() => {
        closeSync(openSync(path, 'r+'));
        return 'opened';
      });
    case 'kill':
      return attempt(() => {
        process.kill(Number(order.pid), 'SIGKILL');
        return 'sent';
      });
    case 'unshare':
      return await unshared();
    case 'kernel':
      return {
        HTTP: await asked(() => clove.http(String(order.url))),
        SPAWN: await asked(() => clove.spawn({ command: ['/bin/true'] })),
        KILL: await asked(() => clove.kill('bystander')),
        SET_PERMS: await asked(() => clove.call('SET_PERMS', { level: 'unrestricted' })),
        GET_AUDIT_LOG: await asked(() => clove.call('GET_AUDIT_LOG', {})),
      };
    default:
      return 'unknown';
  }
}

for await (const { message } of clove.messages()) {
  const order = message as Order;
  if (order.ask === undefined) continue;
  await clove.send('oracle', { answer: order.ask, outcome: await execute(order) });
}
