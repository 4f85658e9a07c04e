import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestKernel, until } from '../kernel/fixture.ts';

const root = path.dirname(import.meta.dirname);
let kernel: TestKernel;
let folder: string;
beforeAll(async () => {
  kernel = await TestKernel.boot();
  folder = mkdtempSync(path.join(tmpdir(), 'clove-fleet-cli-'));
});
afterAll(async () => {
  await kernel.close();
  rmSync(folder, { recursive: true, force: true });
});

function start(args: readonly string[], socket = kernel.running.socketPath): ChildProcess {
  return spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', path.join(root, 'cli/main.ts'), ...args],
    {
      cwd: folder,
      env: { ...process.env, CLOVE_SOCKET: socket, NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
}

async function clove(
  ...args: string[]
): Promise<{ readonly status: number; readonly out: string; readonly err: string }> {
  const child = start(args);
  let [out, err] = ['', ''];
  child.stdout?.on('data', (chunk) => {
    out += String(chunk);
  });
  child.stderr?.on('data', (chunk) => {
    err += String(chunk);
  });
  const [status] = (await once(child, 'close')) as [number];
  return { status, out, err };
}

const declare = (agents: string) =>
  writeFileSync(
    path.join(folder, 'clove.yaml'),
    `fleet: test\ndefaults: { restart: always, stop_grace: 100ms }\nagents:\n${agents}`,
  );

describe('clove up, status and down', () => {
  it('bring a fleet up, show it, change it, and end it', async () => {
    declare(
      '  db: { command: [/bin/sleep, "600"] }\n  web: { command: [/bin/sleep, "600"], depends_on: [db] }\n',
    );
    const before = await clove('status');
    expect(before.status).toBe(1);
    expect(before.out).toMatch(/^db +missing/m);
    const dry = await clove('up', '--dry-run');
    expect([dry.status, dry.out]).toEqual([0, 'start db\nstart web\n2 changes, 0 as declared\n']);
    expect(kernel.running.kernel.agents.size).toBe(0);

    const up = await clove('up');
    expect([up.status, up.out]).toEqual([0, 'fleet test: 2 agents, 2 changes, all as declared\n']);
    expect(up.err).toMatch(/^started db \(id 1, pid \d+\)\nstarted web \(id 2, pid \d+\)\n$/);
    const status = await clove('status', '--json');
    expect(status.status).toBe(0);
    expect(JSON.parse(status.out)).toMatchObject({
      fleet: 'test',
      ok: true,
      agents: [
        { name: 'db', id: 1, state: 'running', ready: true, ok: true, drift: null },
        { name: 'web', id: 2, state: 'running', ready: true, ok: true, drift: null },
      ],
    });

    declare(
      '  db: { command: [/bin/sleep, "600"] }\n  api: { command: [/bin/sleep, "600"], depends_on: [db] }\n',
    );
    const drifted = await clove('status');
    expect(drifted.status).toBe(1);
    expect(drifted.out).toMatch(/^web +surplus/m);
    expect(drifted.out).toMatch(/fleet test: 2 of 3 not as declared/);
    expect((await clove('up')).out).toBe('fleet test: 2 agents, 2 changes, all as declared\n');
    expect(kernel.running.kernel.agents.list().map(({ name }) => name)).toEqual(['db', 'api']);

    const down = await clove('down');
    expect([down.status, down.out]).toEqual([0, 'fleet test: 2 agents ended\n']);
    expect(down.err).toBe('ended api\nended db\n');
    expect(kernel.running.kernel.agents.size).toBe(0);
  });

  it('tell who has done its job and who was given up', async () => {
    declare(
      '  job: { command: [/bin/true], restart: never }\n  broken: { command: [/bin/sh, -c, "exit 3"], restart: { policy: on-failure, max: 2, backoff: 1ms } }\n  web: { command: [/bin/sleep, "600"], depends_on: [job] }\n',
    );
    await clove('up');
    const isOver = () => kernel.running.kernel.agents.find('broken')?.state === 'failed';
    await until(isOver);
    const { status, out } = await clove('status');
    expect(status).toBe(1);
    expect(out).toMatch(/^job +done .* status 0$/m);
    expect(out).toMatch(/^broken +failed .* 2 +status 3; given up after 2 restarts$/m);
    expect(out).toMatch(/^fleet test: 1 of 3 not as declared$/m);
    const again = await clove('up');
    // It may have failed again before up has looked at what became of it.
    expect(again.err).toMatch(/^started broken \(id \d+, pid \d+\)\n(?:warning: broken: .*\n)?$/);
    await until(isOver);
    // Its last run counts, not the one that failed.
    declare(
      '  job: { command: [/bin/true], restart: never }\n  broken: { command: [/bin/true], restart: never }\n',
    );
    await clove('up');
    await until(() => kernel.running.kernel.agents.find('broken')?.state === 'stopped');
    expect((await clove('status')).out).toMatch(/^broken +done .* status 0$/m);
    await clove('down');
  });

  it('name every mistake of the file with its place, and change nothing', async () => {
    declare('  db: { comand: [/bin/true] }\n  web: { command: [/bin/true], limits: { memory: much } }\n');
    const { status, out, err } = await clove('up');
    expect([status, out]).toEqual([1, '']);
    expect(err).toContain(
      'warning: clove.yaml:4:9: agents.db.comand: unknown key; did you mean "command"?\n',
    );
    expect(err).toMatch(/warning: clove\.yaml:5:50: agents\.web\.limits\.memory: expected a size/);
    expect(err).toMatch(/clove: clove\.yaml has 2 problems \[CONFIG\]/);
    const json = await clove('up', '--json');
    expect(JSON.parse(json.out)).toMatchObject({ problems: [{ line: 4, column: 9 }, { line: 5 }] });
    expect((await clove('up', '--file', 'none.yaml')).err).toMatch(/\[NOT_FOUND\]/);
  });

  it('follow the file with --watch, through mistakes too, until interrupted', async () => {
    declare('  one: { command: [/bin/sleep, "600"] }\n');
    const names = () =>
      kernel.running.kernel.agents
        .list()
        .map(({ name }) => name)
        .join();
    const child = start(['up', '--watch']);
    let err = '';
    child.stderr?.on('data', (chunk) => {
      err += String(chunk);
    });
    await until(() => names() === 'one');
    declare('  one: { comand: [] }\n');
    await until(() => err.includes('nothing was changed'));
    expect(names()).toBe('one');
    declare('  two: { command: [/bin/sleep, "600"] }\n');
    await until(() => names() === 'two');
    child.kill('SIGINT');
    await once(child, 'close');
    expect(names()).toBe('two');
    expect((await clove('down')).status).toBe(0);
  });

  it('start a kernel where none runs, and not where that is not wanted', async () => {
    declare('  db: { command: [/bin/sleep, "600"] }\n');
    const socket = path.join(folder, 'own.sock');
    const at = ['--socket', socket];
    expect((await clove('up', '--no-start', ...at)).err).toMatch(/\[UNREACHABLE\]/);
    const up = await clove('up', '--data-dir', path.join(folder, 'data'), ...at);
    expect(up.err).toMatch(/started a kernel: socket .*own\.sock, pid \d+/);
    expect(up.status).toBe(0);
    expect((await clove('status', ...at)).status).toBe(0);
    expect((await clove('kernel', 'stop', ...at)).status).toBe(0);
  });
});
