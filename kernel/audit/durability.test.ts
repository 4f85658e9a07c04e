import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { TestClient } from '../fixture.ts';
import { RawClient } from '../wire/testing.ts';
import { entriesOf, tamper, verifyFolder } from './testing.ts';

const ROUNDS = 4;
const WRITERS = 8;

let folder: string;
let dataFolder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-audit-'));
  dataFolder = path.join(folder, 'data');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A kernel in a process of its own. */
async function startKernel(): Promise<ChildProcess> {
  const module = new URL('../daemon.ts', import.meta.url).href;
  const options = {
    socketPath: path.join(folder, 'clove.sock'),
    dataDirectory: dataFolder,
    runDirectory: path.join(folder, 'run'),
    logLevel: 'silent',
  };
  const script = `const { runDaemon } = await import(${JSON.stringify(module)}); process.exit(await runDaemon(${JSON.stringify(options)}));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (child.stdout === null) throw new Error('no pipe');
  const [line] = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    once(child, 'exit').then(() => ['"the kernel ended before it was ready"']),
  ]);
  expect(JSON.parse(String(line))).toMatchObject({ ready: true });
  return child;
}

function storedKeys(): Set<string> {
  const keys = new Set<string>();
  tamper(dataFolder, (database) => {
    for (const { key } of database.prepare('SELECT key FROM entries').all()) keys.add(String(key));
  });
  return keys;
}

async function connect(): Promise<TestClient> {
  return new TestClient(await RawClient.connect(path.join(folder, 'clove.sock')));
}

/** Stores one key after another until the connection ends; those that were acknowledged. */
async function write(prefix: string, acknowledged: string[]): Promise<void> {
  const client = await connect();
  try {
    for (let at = 0; ; at += 1) {
      const answer = await client.call('STORE', { key: `${prefix}/${at}`, value: at });
      if (answer.success === true) acknowledged.push(`${prefix}/${at}`);
    }
  } catch {
    // The kernel is gone.
  }
}

it('whatever was acknowledged before kill -9 is stored and recorded, whatever is stored is recorded, and the chain holds', async () => {
  const acknowledged: string[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const kernel = await startKernel();
    const exited = once(kernel, 'exit');
    const operator = await connect();
    expect(
      await operator.call('SET_AUDIT_CONFIG', { log_state: true, max_entries: 1_000_000 }),
    ).toMatchObject({
      success: true,
    });
    const before = acknowledged.length;
    const writers = Array.from({ length: WRITERS }, (_, at) => write(`${round}/${at}`, acknowledged));
    const enough = before + 50 + Math.floor(Math.random() * 200);
    while (acknowledged.length < enough)
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 3));
    kernel.kill('SIGKILL');
    await exited;
    await Promise.all(writers);

    expect(verifyFolder(dataFolder)).toMatchObject({ ok: true, problems: [] });
    const stored = storedKeys();
    const recorded = new Set(
      entriesOf(dataFolder)
        .filter(({ body }) => body.syscall === 'STORE' && body.outcome === 'OK')
        .map(({ body }) => body.object),
    );
    for (const key of acknowledged) expect(stored.has(key), key).toBe(true);
    expect(recorded).toEqual(stored);
  }

  // The next kernel says what is not known of the one before, and goes on with the chain.
  const kernel = await startKernel();
  const exited = once(kernel, 'exit');
  kernel.kill('SIGTERM');
  expect(await exited).toEqual([0, null]);
  expect(verifyFolder(dataFolder)).toMatchObject({ ok: true, anchor: { state: 'ok', unanchored: 0 } });
  const events = entriesOf(dataFolder).filter(({ chain }) => chain === 'SECURITY.events');
  expect(events.map(({ body }) => body.event_type).filter((type) => type !== 'AUDIT_CONFIG_CHANGED')).toEqual(
    [
      'AUDIT_GENESIS',
      'KERNEL_STARTED',
      ...Array.from({ length: ROUNDS }, () => ['AUDIT_GAP', 'KERNEL_STARTED']).flat(),
      'KERNEL_STOPPED',
    ],
  );
  expect(events.at(-2)?.body.details).toMatchObject({ previous_end: 'unclean' });
});

it('an agent that was acknowledged as spawned or killed is on record after kill -9', async () => {
  const kernel = await startKernel();
  const exited = once(kernel, 'exit');
  const operator = await connect();
  const spawned = await operator.call('SPAWN', { command: ['/bin/sleep', '60'], name: 'first' });
  const gone = await operator.call('SPAWN', { command: ['/bin/sleep', '60'], name: 'second' });
  const killed = await operator.call('KILL', { id: gone.id, grace_ms: 0 });
  kernel.kill('SIGKILL');
  await exited;
  expect([spawned.success, gone.success, killed.success]).toEqual([true, true, true]);
  const entries = entriesOf(dataFolder).filter(({ category }) => category === 'AGENT_LIFECYCLE');
  const has = (type: string, id: number) =>
    entries.some(({ agent_id, body }) => body.event_type === type && agent_id === id);
  expect(has('AGENT_SPAWNED', spawned.id)).toBe(true);
  expect(has('AGENT_SPAWNED', gone.id)).toBe(true);
  expect(has('AGENT_KILLED', gone.id)).toBe(true);
  const calls = entries.map(({ body }) => body.syscall).filter((name) => name !== undefined);
  expect(calls).toEqual(['SPAWN', 'SPAWN', 'KILL']);
  expect(verifyFolder(dataFolder)).toMatchObject({ ok: true });
});
