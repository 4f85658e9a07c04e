import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestClient, TestKernel, until } from '../fixture.ts';
import { SYSCALLS } from '../syscalls/table.ts';
import { diffRecordings } from './diff.ts';
import { type ReplayReport, replayRecording } from './replay-run.ts';
import { BUSY_AGENT, recordScript, ScriptFolder } from './testing.ts';

const CLI = path.join(import.meta.dirname, '..', '..', 'cli', `main${path.extname(import.meta.filename)}`);

let kernel: TestKernel;
let client: TestClient;
let scripts: ScriptFolder;

beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
  scripts = new ScriptFolder();
});
afterAll(async () => {
  await kernel.close();
  scripts.remove();
});

/** Records a script of the SDK that needs nobody. */
async function record(name: string, source: string, more: Record<string, unknown> = {}) {
  const script = scripts.write(
    `${name}.ts`,
    `import { connect } from 'clove/sdk';\nconst client = await connect();\n${source}`,
  );
  const recorded = await recordScript(client, { script, name, ...more });
  return { script, ...recorded };
}

/** The same with another script in its place. */
function edit(script: string, from: string, to: string): void {
  const source = readFileSync(script, 'utf8');
  expect(source).toContain(from);
  writeFileSync(script, source.replace(from, to));
}

async function replayBusy(): Promise<{ file: string; recorded: string }> {
  const script = scripts.write('busy.ts', BUSY_AGENT);
  const { file, exit } = await recordScript(client, { script, name: 'busy' }, async (id) => {
    await client.call('RECV', { wait: true });
    await client.call('SEND', { to: id, message: { go: true } });
  });
  expect(exit.stderr).toBe('');
  expect(exit.exit_code).toBe(0);
  return { file, recorded: exit.stdout };
}

/** Half of them in each of two processes: CLOVE_REPLAYS=100 is what the goal says. */
const REPLAYS = Number(process.env.CLOVE_REPLAYS ?? 20);

describe('a replay', () => {
  it(
    `has the same output hash ${REPLAYS} times over, in other folders, time zones, locales and processes`,
    async () => {
      const { file } = await replayBusy();
      const source = `
      const [module, file] = process.argv.slice(1);
      const { replayRecording } = await import(module);
      const places = [['/', 'UTC', 'C'], ['/tmp', 'Asia/Kathmandu', 'ar_EG.UTF-8'], ['/usr', 'America/St_Johns', 'tr_TR.UTF-8']];
      for (let round = 0; round < ${REPLAYS / 2}; round += 1) {
        const [folder, zone, locale] = places[round % places.length];
        process.chdir(folder);
        process.env.TZ = zone;
        process.env.LANG = process.env.LC_ALL = locale;
        const { verdict, outputHash, recordedHash, divergence } = await replayRecording({ file });
        console.log(JSON.stringify({ verdict, outputHash, recordedHash, divergence }));
      }`;
      const module = path.join(import.meta.dirname, `replay-run${path.extname(import.meta.filename)}`);
      const lines: string[] = [];
      for (const cwd of ['/var', scripts.path]) {
        const env = { PATH: process.env.PATH ?? '', TZ: 'Pacific/Chatham', LC_ALL: 'de_DE.UTF-8' };
        const child = await promisify(execFile)(
          process.execPath,
          ['--input-type=module', '-e', source, module, file],
          { cwd, env },
        );
        lines.push(...child.stdout.trim().split('\n'));
      }
      expect(lines).toHaveLength(REPLAYS);
      const [first, ...others] = new Set(lines);
      expect(others).toEqual([]);
      const { verdict, outputHash, recordedHash } = JSON.parse(first ?? '');
      expect(verdict).toBe('identical');
      expect(outputHash).toBe(recordedHash);
    },
    60_000 + REPLAYS * 6_000,
  );

  it('answers commands, files and the network from the recording and does none of it', async () => {
    let hits = 0;
    const server = createServer((_request, response) => {
      hits += 1;
      response.end(`hit ${hits}`);
    }).listen(0, '127.0.0.1');
    await until(() => server.listening);
    const { port } = server.address() as AddressInfo;
    try {
      const { file, exit } = await record(
        'reacher',
        `
        const ran = await client.exec('echo run >> /work/marker; cat /work/marker; head -c 6 /dev/urandom | base64');
        await client.writeFile('/work/written', 'x');
        const http = (await client.call('HTTP', { url: 'http://127.0.0.1:${port}/' })).body;
        const { existsSync } = await import('node:fs');
        await client.store('seen', { out: ran.stdout, http });
        console.log(ran.stdout, JSON.stringify(http), process.env.CLOVE_REPLAYED ?? existsSync('/work/written'));`,
        {
          permissions: {
            can_exec: true,
            exec: ['*'],
            can_http: true,
            network: [`127.0.0.1:${port}`],
            http_methods: ['*'],
            private_network: true,
          },
        },
      );
      expect(exit.stderr).toBe('');
      expect(exit.stdout).toContain('hit 1');
      expect(hits).toBe(1);
      const report = await replayRecording({ file, compareOutput: false, env: { CLOVE_REPLAYED: '1' } });
      expect(report).toMatchObject({ verdict: 'identical', divergence: null });
      expect(hits).toBe(1);
      // With its own eyes the agent sees that nothing was written, and says so: that is a divergence of its output.
      expect(await replayRecording({ file })).toMatchObject({
        verdict: 'diverged',
        divergence: {
          kind: 'output',
          differences: [
            { recorded: expect.stringMatching(/true$/), actual: expect.stringMatching(/false$/) },
          ],
        },
      });
    } finally {
      server.close();
    }
  });

  it('stops an edited agent at its first other call, before anything of it happens', async () => {
    const { script, file } = await record(
      'edited',
      `
      await client.store('step', 1);
      await client.exec('echo as recorded');
      await client.store('step', 2);
      console.log('done');`,
    );
    const marker = path.join(scripts.path, 'marker');
    edit(script, "'echo as recorded'", `'touch ${marker}; echo otherwise'`);
    const report = await replayRecording({ file });
    expect(report.verdict).toBe('diverged');
    expect(report.divergence).toMatchObject({
      kind: 'call',
      name: 'edited',
      message: 'the agent made a EXEC that is not in the recording',
      call: { syscall: 'EXEC', request: expect.stringContaining('otherwise') },
      nearest: { syscall: 'EXEC', request: expect.stringContaining('as recorded') },
      differences: [{ path: '/command', recorded: 'echo as recorded' }],
    });
    expect(existsSync(marker)).toBe(false);
    // HELLO of the connection and the first STORE.
    expect(report.divergence?.matched).toBe(2);
  });

  it.each<[string, string, string, object]>([
    [
      'asks for the same once more',
      "await client.fetch('x');",
      "await client.fetch('x'); await client.fetch('x');",
      { kind: 'call', message: expect.stringContaining('once more than the 1 times of the recording') },
    ],
    [
      'leaves a call out and ends',
      "await client.fetch('x');",
      '',
      {
        kind: 'missing',
        message: expect.stringMatching(/^the agent ended \(exit code 0\) before its FETCH/),
      },
    ],
    [
      'ends with another exit code',
      'process.exitCode = 0;',
      'process.exitCode = 3;',
      { kind: 'exit', message: expect.stringContaining('exit code 3, in the recording exit code 0') },
    ],
    [
      'prints something else',
      "console.log('out');",
      "console.log('other');",
      { kind: 'output', differences: [{ path: '/stdout', recorded: 'out', actual: 'other' }] },
    ],
    [
      'waits for ever',
      "await client.fetch('x');",
      'await new Promise(() => setInterval(() => {}, 1000));',
      { kind: 'stalled', message: expect.stringContaining('before its FETCH') },
    ],
  ])('finds an agent that %s', async (what, from, to, divergence) => {
    const name = `finds-${what.replaceAll(/[^a-z]+/g, '-')}`;
    const { script, file } = await record(
      name,
      "await client.fetch('x');\nconsole.log('out');\nprocess.exitCode = 0;\nawait client.close();",
    );
    expect((await replayRecording({ file })).verdict).toBe('identical');
    edit(script, from, to);
    const report = await replayRecording({ file, stallMs: 1000 });
    expect(report.divergence).toMatchObject({ name, ...divergence });
    expect(report.runs[0]?.notes ?? [expect.anything()]).not.toEqual([]);
  });

  it('gives an agent with several calls under way the answers in the order of the recording', async () => {
    const { file, exit } = await record(
      'racer',
      `
      const order: string[] = [];
      const work = ['sleep 0.3', 'sleep 0.1', 'true'].map(async (command, n) => {
        const other = client.clone();
        await other.exec(command);
        order.push('command ' + n);
        await other.close();
      });
      await client.store('meanwhile', 1);
      order.push('store');
      await Promise.all(work);
      console.log(order.join(', '));
      await client.close();`,
    );
    expect(exit.stdout.match(/command \d/g)).toEqual(['command 2', 'command 1', 'command 0']);
    for (let n = 0; n < 3; n += 1) {
      expect(await replayRecording({ file })).toMatchObject({ verdict: 'identical' });
    }
  });

  it('follows an agent over its restarts, and one that was killed up to its last call', async () => {
    const script = scripts.write(
      'restarting.ts',
      `import { connect } from 'clove/sdk';
      const client = await connect();
      await client.subscribe(['CUSTOM']);
      const lives = ((await client.fetch<number>('lives')) ?? 0) + 1;
      await client.store('lives', lives);
      if (lives < 3) process.exit(7);
      await client.send('parent', 'up');
      await client.receive({ wait: true });`,
    );
    const request = {
      script,
      name: 'restarting',
      restart_policy: 'on-failure',
      restart_backoff_ms: 10,
      max_restarts: 5,
    };
    const { file } = await recordScript(client, request, async (id) => {
      await client.call('RECV', { wait: true });
      await client.call('KILL', { id, grace_ms: 0 });
    });
    const report = await replayRecording({ file });
    expect(report.divergence).toBeNull();
    expect(report.verdict).toBe('identical');
    expect(report.runs.map(({ incarnation }) => incarnation)).toEqual([0, 1, 2]);
  });

  it('follows an agent that gets new code, and one whose new code does not come up', async () => {
    const code = (version: number) =>
      scripts.write(
        `version-${version}.ts`,
        `import { connect } from 'clove/sdk';
        const client = await connect();
        await client.store('version', ${version});
        await client.send('parent', 'up ${version}');
        await client.receive({ wait: true });`,
      );
    const broken = scripts.write('broken.ts', 'process.exit(9);');
    const { file } = await recordScript(client, { script: code(1), name: 'renewed' }, async (id) => {
      await client.call('RECV', { wait: true });
      expect(await client.call('RELOAD', { id, script: code(2), ready_ms: 1 })).toMatchObject({
        reloaded: true,
      });
      await client.call('RECV', { wait: true });
      expect(await client.call('RELOAD', { id, script: broken })).toMatchObject({ rolled_back: true });
      await client.call('RECV', { wait: true });
      await client.call('KILL', { id, grace_ms: 0 });
    });
    const report = await replayRecording({ file });
    expect(report.divergence).toBeNull();
    expect(report.verdict).toBe('identical');
    expect(report.runs.map(({ incarnation, calls }) => [incarnation, calls > 0])).toEqual([
      [0, true],
      [1, true],
      [2, false],
      [3, true],
    ]);
  });

  it('gives secrets back only from outside, and is the same with or without them', async () => {
    const secret = 'very-secret-0123456789';
    const { file } = await record(
      'secretive',
      `
      await client.store('config', { password: process.env.DB_PASSWORD });
      await client.send('parent', 'it is ' + process.env.DB_PASSWORD);
      console.log(process.env.DB_PASSWORD);
      await client.close();`,
      { env: { DB_PASSWORD: secret } },
    );
    expect(readFileSync(file, 'utf8')).not.toContain(secret);
    const without = await replayRecording({ file });
    const withIt = await replayRecording({ file, env: { DB_PASSWORD: secret } });
    expect([without.verdict, withIt.verdict]).toEqual(['identical', 'identical']);
    expect(withIt.outputHash).toBe(without.outputHash);
  });

  it('says which agents it cannot replay, and refuses when there is none', async () => {
    const early = await client.spawn({ name: 'early', command: ['/bin/sleep', '30'] });
    const { file } = await record('late', "await client.fetch('x'); await client.close();");
    await client.call('KILL', { id: early.id, grace_ms: 0 });
    const report = await replayRecording({ file });
    expect(report).toMatchObject({
      verdict: 'partial',
      skipped: [{ name: 'early', reason: 'it ran already when the recording began' }],
    });
    expect(await replayRecording({ file, agents: ['late'] })).toMatchObject({ verdict: 'identical' });
    await expect(replayRecording({ file, agents: ['early'] })).rejects.toMatchObject({
      code: 'DATA_MISSING',
    });
  });

  it('runs an agent and the children it started each by itself, and starts no child twice', async () => {
    const child = scripts.write(
      'child.ts',
      "import { connect } from 'clove/sdk';\nconst client = await connect();\nconsole.log(await client.fetch('given'));\nawait client.send('parent', 'hello');\nawait client.close();",
    );
    const { file, exit } = await record(
      'mother',
      `
      await client.store('given', 42);
      const { id } = await client.spawn({ script: '${child}', name: 'child' });
      const [message] = await client.receive({ wait: true });
      const { exit_code: code } = await client.wait(id);
      console.log(message?.message, code);
      await client.close();`,
      { permissions: { can_spawn: true } },
    );
    expect(exit).toMatchObject({ stdout: 'hello 0\n', stderr: '' });
    const report = await replayRecording({ file });
    expect(report.divergence).toBeNull();
    expect(report.runs.map(({ name, calls, matched }) => [name, calls === matched])).toEqual([
      ['mother', true],
      ['child', true],
    ]);
  });

  it('runs agents of other languages', async () => {
    const script = scripts.write(
      'plain.py',
      [
        'import json, os, socket, struct',
        "s = socket.socket(socket.AF_UNIX); s.connect(os.environ['CLOVE_SOCKET'])",
        'def call(opcode, **fields):',
        '    body = json.dumps(fields).encode()',
        "    s.sendall(struct.pack('<IIBQ', 0x41474e54, 0, opcode, len(body)) + body)",
        "    head = s.recv(17, socket.MSG_WAITALL); return json.loads(s.recv(struct.unpack('<IIBQ', head)[3], socket.MSG_WAITALL))",
        "print(call(0x02, command='date +%N')['stdout'], call(0xfe)['uptime'], os.environ['CLOVE_SEED'])",
      ].join('\n'),
    );
    const { file, exit } = await recordScript(client, { script, name: 'plain' });
    expect(exit).toMatchObject({ exit_code: 0, stderr: '' });
    expect(await replayRecording({ file })).toMatchObject({ verdict: 'identical', runs: [{ matched: 2 }] });
  });

  it('is refused for a file that was changed, before anything runs', async () => {
    const { file } = await record('tampered', "await client.fetch('x'); await client.close();");
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, text.replace('"syscall":"FETCH"', '"syscall":"FETCI"'));
    await expect(replayRecording({ file })).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
  });

  it('keeps agents from the host that had it: its network, its files, no sandbox at all', async () => {
    let hits = 0;
    const server = createServer((_request, response) => {
      hits += 1;
      response.end();
    }).listen(0, '127.0.0.1');
    await until(() => server.listening);
    const { port } = server.address() as AddressInfo;
    const shared = path.join(scripts.path, 'shared');
    mkdirSync(shared);
    chmodSync(shared, 0o777);
    const source = `
      import { appendFileSync, existsSync } from 'node:fs';
      try { await fetch('http://127.0.0.1:${port}/'); console.log('reached'); } catch { console.log('no network'); }
      const folder = existsSync('${shared}') ? '${shared}' : '/mnt';
      try { appendFileSync(folder + '/file', 'x'); console.log('wrote'); } catch {}
      await client.close();`;
    const mounts = [{ source: shared, target: '/mnt', readonly: false }];
    try {
      for (const [name, request, notes] of [
        ['with-network', { network: true, mounts }, [/network/, /write to folders/]],
        ['without-netns', { isolation: { disable: ['netns'] }, mounts }, [/write to folders/, /layers/]],
        ['without-sandbox', { sandboxed: false }, [/no sandbox/]],
      ] as const) {
        rmSync(path.join(shared, 'file'), { force: true });
        const { file, exit } = await record(name, source, request);
        expect(exit.stdout, name).toBe('reached\nwrote\n');
        const [hitsThen, textThen] = [hits, readFileSync(path.join(shared, 'file'), 'utf8')];
        const report = await replayRecording({ file });
        expect(report.divergence, name).toMatchObject({ kind: 'output' });
        expect(report.runs[0]?.notes).toEqual(notes.map((note) => expect.stringMatching(note)));
        expect(hits).toBe(hitsThen);
        expect(readFileSync(path.join(shared, 'file'), 'utf8')).toBe(textThen);
      }
    } finally {
      server.close();
    }
  });
});

describe('clove replay', () => {
  const clove = async (...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> => {
    try {
      const { stdout, stderr } = await promisify(execFile)(process.execPath, [CLI, ...args], {
        cwd: '/',
        env: { ...process.env, NO_COLOR: '1' },
      });
      return { status: 0, stdout, stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { status: code, stdout, stderr };
    }
  };

  it('goes with clove record, which starts, shows and ends recordings', async () => {
    const socket = ['--socket', kernel.running.socketPath];
    const started = await clove('record', 'start', '--agent', 'by-hand', '--redact', 'plan*', ...socket);
    expect(started).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^recording into .+\.part\n$/),
    });
    expect(await clove('record', 'start', ...socket)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('a recording runs already'),
    });
    const script = scripts.write(
      'by-hand.ts',
      "import { connect } from 'clove/sdk';\nconst client = await connect();\nawait client.store('a', { plans: 'hidden-plan' });\nawait client.close();",
    );
    await client.run({ script, name: 'by-hand' });
    expect((await clove('record', 'status', ...socket)).stdout).toMatch(/^RECORDING, 2 calls, /);
    const file = (await clove('record', 'stop', ...socket)).stdout.trim();
    expect(readFileSync(file, 'utf8')).not.toContain('hidden-plan');
    expect((await clove('replay', 'run', file)).stdout).toMatch(/\nidentical\n$/);
    rmSync(script);
    const gone = await clove('replay', 'run', file);
    expect(gone).toMatchObject({ status: 1, stdout: expect.stringContaining('could not be started') });
    await client.call('RECORD_START', { filter_agents: [], filter_names: [], redact_names: [] });
    await client.call('RECORD_STOP');
  });

  it('runs, verifies and compares, with the exit status of the verdict', async () => {
    const { script, file, id } = await record(
      'shown',
      "await client.store('a', { n: 1 }); await client.close();",
    );
    const second = await recordScript(client, { script, name: 'shown' });
    const ran = await clove('--json', 'replay', 'run', file);
    expect(ran).toMatchObject({ status: 0 });
    expect((JSON.parse(ran.stdout) as ReplayReport).verdict).toBe('identical');
    const verified = await clove('replay', 'verify', file, '--id', id);
    expect(verified).toMatchObject({ status: 0, stdout: expect.stringContaining(id) });
    expect(await clove('replay', 'verify', file, '--id', 'f'.repeat(64))).toMatchObject({ status: 1 });
    const same = await diffRecordings(file, file);
    expect(same.identical).toBe(true);
    edit(script, 'n: 1', 'n: 2');
    const other = await recordScript(client, { script, name: 'shown' });
    const diff = await clove('replay', 'diff', second.file, other.file);
    expect(diff.status).toBe(1);
    const diverged = await clove('replay', 'run', file);
    expect(diverged.status).toBe(1);
    expect(diverged.stdout).toContain('/value/n\n      - 1\n      + 2\n');
    expect(diverged.stdout).toContain('the agent made a STORE that is not in the recording');
    const text = readFileSync(file);
    writeFileSync(file, text.subarray(0, -200));
    const refused = await clove('replay', 'verify', file);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(/recording refused: entry \d+ \(line \d+\)/);
  });
});

describe('the replay class of syscalls', () => {
  it('is deterministic only where the answer follows from what the caller itself did', () => {
    const deterministic = SYSCALLS.filter(({ replay }) => replay === 'deterministic').map(({ name }) => name);
    expect(deterministic.toSorted()).toEqual(['EXIT', 'NOOP', 'STORE', 'SUBSCRIBE', 'UNSUBSCRIBE']);
  });
});
