import { existsSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { callingAgent, type TestClient, TestKernel, until } from '../fixture.ts';

let kernel: TestKernel;
let client: TestClient;
beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
});
afterEach(async () => {
  for (const { id } of await client.call('LIST')) await client.call('KILL', { id, grace_ms: 0 });
});
afterAll(() => kernel.close());

const sleeper = (fields: Record<string, unknown> = {}) => ({ command: ['/bin/sleep', '60'], ...fields });
const shell = (script: string, fields: Record<string, unknown> = {}) => ({
  command: ['/bin/sh', '-c', script],
  ...fields,
});
const isAlive = (pid: number) =>
  existsSync(`/proc/${pid}`) && !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));

describe('SPAWN', () => {
  it('answers with all that existing clients read, and with what protects the agent', async () => {
    const answer = await client.spawn(sleeper({ name: 'ann', restart_policy: 'on_failure' }));
    expect(answer).toMatchObject({
      success: true,
      name: 'ann',
      status: 'running',
      restart_policy: 'on-failure',
      isolation: {
        fully_isolated: true,
        namespaces: { pid: true, net: true, mnt: true, uts: true },
        cgroups: { available: true, memory_limit: true, cpu_quota: true, pids_limit: true },
      },
    });
    expect(answer.agent_id).toBe(answer.id);
    expect(answer.isolation).not.toHaveProperty('degraded_reason');
    expect(answer.isolation.layers.find(({ layer }: { layer: string }) => layer === 'seccomp')).toMatchObject(
      {
        requested: true,
        state: 'on',
      },
    );
    expect(isAlive(answer.pid)).toBe(true);
  });

  it('names an agent by its id when it has no name, and counts ids up', async () => {
    const first = await client.spawn(sleeper());
    const second = await client.spawn(sleeper());
    expect(first.name).toBe(`agent_${first.id}`);
    expect(second.id).toBeGreaterThan(first.id);
  });

  it('refuses the name of a live agent, and takes it again after its end', async () => {
    const { id } = await client.spawn(sleeper({ name: 'bob' }));
    const refused = await client.call('SPAWN', sleeper({ name: 'bob' }));
    expect(refused).toMatchObject({ success: false, code: 'CONFLICT' });
    expect(refused.error).toMatch(/^failed to spawn agent/);
    await client.call('KILL', { id, grace_ms: 0 });
    expect((await client.spawn(sleeper({ name: 'bob' }))).id).not.toBe(id);
  });

  it('refuses a name that a client holds', async () => {
    const other = await kernel.connect();
    await other.call('REGISTER', { name: 'taken' });
    expect(await client.call('SPAWN', sleeper({ name: 'taken' }))).toMatchObject({ code: 'CONFLICT' });
    await other.close();
  });

  it('says what is wrong with a request', async () => {
    expect(await client.call('SPAWN', {})).toMatchObject({ success: false, error: 'script path required' });
    expect(
      (await client.call('SPAWN', { command: ['/bin/true'], limits: { memory: 'lots' } })).error,
    ).toMatch(/^invalid request: limits\.memory: /);
    expect((await client.call('SPAWN', { script: '/none/x.py' })).error).toMatch(/script not found/);
    expect(await client.call('SPAWN', { command: ['/none'] })).toMatchObject({ code: 'EXEC_FAILED' });
    expect(await client.call('LIST')).toEqual([]);
  });

  it('refuses when a required layer cannot be had, and nothing runs', async () => {
    const marker = path.join(kernel.folder, 'marker');
    mkdirSync(marker, { recursive: true, mode: 0o777 });
    const request = { ...shell('touch /m/ran'), mounts: [{ source: marker, target: '/m', readonly: false }] };
    for (const [fields, layer] of [
      [{ isolation: { require: ['overlay'] } }, 'overlay'],
      [{ limits: { cpus: '4000' } }, 'cpuset'],
    ] as const) {
      const answer = await client.call('SPAWN', { ...request, ...fields });
      expect(answer).toMatchObject({ success: false, code: 'SANDBOX_UNAVAILABLE', details: { layer } });
      expect(answer.error).toMatch(/^failed to spawn agent: /);
    }
    expect(existsSync(path.join(marker, 'ran'))).toBe(false);
  });

  it('gives the agent exactly the environment it was given', async () => {
    const exit = await client.run({ command: ['/usr/bin/env'], name: 'env', env: { MINE: 'a b' } });
    expect(exit.stdout.trim().split('\n').toSorted()).toEqual([
      `CLOVE_AGENT_ID=${exit.agent_id}`,
      'CLOVE_AGENT_NAME=env',
      expect.stringMatching(/^CLOVE_SEED=\d+$/),
      'CLOVE_SOCKET=/run/clove.sock',
      'HOME=/work',
      'LANG=C.UTF-8',
      'MINE=a b',
      'PATH=/usr/local/bin:/usr/bin:/bin',
    ]);
  });

  it('runs a script with socket path and arguments, beside its neighbours', async () => {
    const folder = path.join(kernel.folder, 'agents');
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    writeFileSync(path.join(folder, 'part.sh'), 'echo part $1 $2');
    writeFileSync(
      path.join(folder, 'main.sh'),
      '. "$(dirname "$0")/part.sh"; echo x >> "$0" || echo readonly',
    );
    const exit = await client.run({ script: path.join(folder, 'main.sh'), args: ['one'] });
    expect(exit.stdout).toBe('part /run/clove.sock one\nreadonly\n');
  });

  it('runs a Python script of an existing client: it connects to the path it is given', async (ctx) => {
    if (!existsSync('/usr/bin/python3')) ctx.skip('no python3 in the system folders');
    const file = path.join(kernel.folder, 'worker.py');
    // Readable by its owner only, as the temporary files of Python are.
    writeFileSync(
      file,
      `import socket, struct, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall(struct.pack('<IIBQ', 0x41474e54, 0, 0, 5) + b'hello')
magic, agent, opcode, size = struct.unpack('<IIBQ', s.recv(17))
print(agent, opcode, s.recv(size).decode())
t = socket.socket(socket.AF_UNIX); t.connect('/tmp/clove.sock'); print('default path')
`,
      { mode: 0o600 },
    );
    const answer = await client.spawn({
      name: 'worker',
      script: file,
      sandboxed: true,
      network: false,
      limits: null,
    });
    expect(answer.script).toMatchObject({ mounted: 'copy' });
    expect(await client.call('WAIT', { id: answer.id })).toMatchObject({ exit_code: 0 });
    expect((await client.call('LOGS', { id: answer.id })).stdout).toBe(
      `${answer.id} 0 hello\ndefault path\n`,
    );
  });

  it('feeds stdin, ends it, and starts where it is told', async () => {
    const text = 'line\n'.repeat(100_000);
    expect(await client.run(shell('cat | wc -c; pwd', { stdin: text, cwd: '/tmp' }))).toMatchObject({
      stdout: `${text.length}\n/tmp\n`,
      exit_code: 0,
    });
    expect((await client.run(shell('cat | wc -c'))).stdout).toBe('0\n');
  });

  it('starts nowhere but inside, whatever the working directory says', async () => {
    for (const cwd of ['/proc/self/fd/7', '/proc/1/cwd', '/root', '/none']) {
      const answer = await client.call('SPAWN', shell('pwd', { cwd }));
      expect(answer, cwd).toMatchObject({ success: false });
      expect(answer.error).toMatch(/^failed to spawn agent/);
    }
  });

  it('runs without walls only when told so, and the report says it', async () => {
    const answer = await client.spawn(sleeper({ sandboxed: false }));
    expect(answer.isolation.fully_isolated).toBe(false);
    expect(answer.isolation.degraded_reason).toContain('seccomp');
    expect(answer.isolation.off).toEqual(expect.arrayContaining(['pidns', 'mntns', 'seccomp']));
    expect(answer.isolation.cgroups.memory_limit).toBe(true);
  });

  it('has a network only when told so, and the report says it', async () => {
    const hostNetwork = readlinkSync('/proc/self/ns/net');
    const own = await client.run(shell('readlink /proc/self/ns/net; cat /proc/net/dev'));
    expect(own.stdout).not.toContain(hostNetwork);
    expect(own.stdout.match(/^ *\w+: /gm)?.map((name: string) => name.trim())).toEqual(['lo:']);
    const answer = await client.spawn(shell('readlink /proc/self/ns/net', { network: true }));
    expect(answer.isolation).toMatchObject({ fully_isolated: false, namespaces: { net: false, pid: true } });
    await client.call('WAIT', { id: answer.id });
    expect((await client.call('LOGS', { id: answer.id })).stdout.trim()).toBe(hostNetwork);
  });

  it('mounts what an operator gives, read-only unless said otherwise', async () => {
    const folder = path.join(kernel.folder, 'shared');
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, 'data'), 'content');
    const exit = await client.run(
      shell('cat /data/data; touch /data/new || echo refused', {
        mounts: [{ source: folder, target: '/data' }],
      }),
    );
    expect(exit.stdout).toBe('contentrefused\n');
  });
});

describe('the end of an agent', () => {
  it.each([
    ['its exit code', shell('exit 7'), { reason: 'exited', exit_code: 7, signal: null, state: 'failed' }],
    ['success', shell('exit 0'), { reason: 'exited', exit_code: 0, signal: null, state: 'stopped' }],
    [
      'a signal',
      shell('kill -SEGV $$'),
      { reason: 'signal', exit_code: null, signal: 'SIGSEGV', state: 'failed' },
    ],
    ['its time limit', sleeper({ timeout_ms: 50 }), { reason: 'timeout', exit_code: null, state: 'failed' }],
    [
      'its memory limit',
      shell('x=$(head -c 100000000 /dev/zero | tr "\\0" a); echo $x', { limits: { memory_mb: 24 } }),
      { reason: 'oom' },
    ],
  ])('is reported with %s', async (_what, request, expected) => {
    const exit = await client.run(request);
    expect(exit).toMatchObject({ success: true, restart_count: 0, ...expected });
    expect(exit.usage.wall_us).toBeGreaterThan(0);
    expect(exit.usage.memory_peak_bytes).toBeGreaterThan(0);
  });

  it('is known to WAIT and LOGS afterwards, but no longer to LIST', async () => {
    const { id } = await client.spawn(shell('echo out; echo err >&2; exit 3', { name: 'brief' }));
    for (const target of [{ id }, { agent_id: id }, { name: 'brief' }]) {
      expect(await client.call('WAIT', target)).toMatchObject({
        agent_id: id,
        exit_code: 3,
        log_tail: 'err\n',
      });
    }
    expect(await client.call('LOGS', { id })).toMatchObject({
      stdout: 'out\n',
      stderr: 'err\n',
      stdout_dropped: 0,
    });
    expect(await client.call('LIST')).toEqual([]);
    const all = await client.call('LIST', { all: true });
    expect(all.find((row: { id: number }) => row.id === id)).toMatchObject({
      state: 'failed',
      running: false,
      pid: 0,
    });
  });

  it('is an event also when it was natural, with usage and the end of its output', async () => {
    await client.call('SUBSCRIBE', { event_types: ['AGENT_SPAWNED', 'AGENT_EXITED'] });
    const { agent_id: id } = await client.run(shell('echo last words >&2; exit 4', { name: 'eve' }));
    const { events } = await client.call('POLL_EVENTS', {});
    await client.call('UNSUBSCRIBE', { all: true });
    expect(events.map((event: { type: string }) => event.type)).toEqual(['AGENT_SPAWNED', 'AGENT_EXITED']);
    expect(events[1].data).toMatchObject({
      agent_id: id,
      name: 'eve',
      reason: 'exited',
      exit_code: 4,
      log_tail: 'last words\n',
    });
    expect(events[1].data).not.toHaveProperty('killed_by');
  });

  it('is an event to other agents, too, but without its output', async () => {
    await client.spawn({
      name: 'watcher',
      ...callingAgent([
        ['SUBSCRIBE', { event_types: ['AGENT_EXITED', 'SYSCALL_BLOCKED'] }],
        ['SEND', { to_name: 'parent', message: 'ready' }],
        ['POLL_EVENTS', { wait: true }],
      ]),
    });
    await client.call('RECV', { wait: true });
    await client.run(shell('echo secret words >&2; exit 1', { name: 'talker' }));
    await client.call('WAIT', { name: 'watcher' });
    const { stdout } = await client.call('LOGS', { name: 'watcher' });
    const [event] = JSON.parse(stdout)[2].answer.events;
    expect(event.data).toMatchObject({ name: 'talker', reason: 'exited', exit_code: 1 });
    expect(stdout).not.toContain('secret');
  });

  it('by a limit is a warning of that resource', async () => {
    await client.call('SUBSCRIBE', { event_types: ['RESOURCE_WARNING'] });
    await client.run(
      shell('for i in 1 2 3 4 5 6 7 8; do sleep 0.05 & done; wait', { limits: { max_pids: 4 } }),
    );
    const { events } = await client.call('POLL_EVENTS', {});
    await client.call('UNSUBSCRIBE', { all: true });
    expect(events[0].data).toMatchObject({ resource: 'pids', count: expect.any(Number) });
  });

  it('is not waited for longer than asked', async () => {
    const { id } = await client.spawn(sleeper());
    expect(await client.call('WAIT', { id, timeout_ms: 20 })).toMatchObject({
      success: false,
      code: 'TIMEOUT',
    });
    expect(await client.call('WAIT', { id: 999_999 })).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('comes for the whole tree, also for what ignores SIGTERM or has left the session', async () => {
    const script = `
      trap '' TERM
      (trap '' TERM HUP; setsid sh -c 'trap "" TERM; sleep 61' &) &
      (sleep 61 &) &
      kill -STOP $(sh -c 'sleep 61 >/dev/null 2>&1 & echo $!') 2>/dev/null
      echo ready; while :; do sleep 61; done`;
    const { id } = await client.spawn(shell(script, { name: 'stubborn' }));
    await until(async () => (await client.call('LOGS', { id })).stdout.includes('ready'));
    const pids = kernel.running.kernel.agents.get(id)?.sandbox?.stats().processIds ?? [];
    expect(pids.length).toBeGreaterThan(3);
    expect(await client.call('KILL', { id, grace_ms: 50 })).toMatchObject({ killed: true, agent_id: id });
    for (const pid of pids) expect(isAlive(pid), `pid ${pid}`).toBe(false);
  });
});

describe('KILL', () => {
  it('lets an agent end by itself on SIGTERM', async () => {
    const { id } = await client.spawn(
      shell('trap "echo bye; exit 9" TERM; echo up; while :; do sleep 0.01; done'),
    );
    await until(async () => (await client.call('LOGS', { id })).stdout.includes('up'));
    expect(await client.call('KILL', { id })).toMatchObject({ success: true, killed: true, agent_id: id });
    expect(await client.call('WAIT', { id })).toMatchObject({
      reason: 'killed',
      exit_code: 9,
      state: 'stopped',
    });
    expect((await client.call('LOGS', { id })).stdout).toBe('up\nbye\n');
  });

  it('ends a paused agent', async () => {
    const { id, pid } = await client.spawn(sleeper());
    await client.call('PAUSE', { id });
    expect(await client.call('KILL', { id })).toMatchObject({ killed: true });
    expect(isAlive(pid)).toBe(false);
    expect(await client.call('LIST')).toEqual([]);
  });

  it('cancels a restart that is pending, and the policy with it', async () => {
    const { id } = await client.spawn(
      shell('exit 1', { name: 'phoenix', restart_policy: 'always', restart_backoff_ms: 100_000 }),
    );
    await until(async () => (await client.call('LIST'))[0]?.restart_in_ms !== null);
    expect(await client.call('KILL', { name: 'phoenix' })).toMatchObject({ killed: true, agent_id: id });
    expect(await client.call('LIST')).toEqual([]);
    const again = await client.spawn(shell('exit 1', { name: 'phoenix' }));
    expect(await client.call('WAIT', { id: again.id })).toMatchObject({ restart_count: 0 });
    await sleep(20);
    expect(await client.call('LIST')).toEqual([]);
  });

  it('says when there is nobody, and that an id wins over a name', async () => {
    expect(await client.call('KILL', { name: 'none' })).toMatchObject({
      success: false,
      killed: false,
      agent_id: 0,
    });
    const { id } = await client.spawn(sleeper({ name: 'one' }));
    const other = await client.spawn(sleeper({ name: 'two' }));
    expect(await client.call('KILL', { id, name: 'two', grace_ms: 0 })).toMatchObject({ agent_id: id });
    expect((await client.call('LIST')).map((row: { id: number }) => row.id)).toEqual([other.id]);
  });
});

describe('PAUSE and RESUME', () => {
  it('stop and continue everything the agent started', async () => {
    const spin = 'while :; do :; done';
    const { id } = await client.spawn(shell(`(${spin}) & (setsid sh -c '${spin}') & ${spin}`));
    const { sandbox } = kernel.running.kernel.agents.get(id) ?? {};
    await until(() => (sandbox?.stats().cpuUsageUs ?? 0) > 10_000);
    expect(await client.call('PAUSE', { id })).toEqual({ agent_id: id, paused: true, success: true });
    expect((await client.call('LIST'))[0]).toMatchObject({ state: 'paused', running: false });
    const before = sandbox?.stats().cpuUsageUs;
    await sleep(60);
    expect(sandbox?.stats().cpuUsageUs).toBe(before);
    expect(await client.call('PAUSE', { id })).toMatchObject({
      success: false,
      paused: false,
      code: 'CONFLICT',
    });
    expect(await client.call('RESUME', { id })).toEqual({ agent_id: id, resumed: true, success: true });
    await until(() => (sandbox?.stats().cpuUsageUs ?? 0) > (before ?? 0));
    expect(await client.call('RESUME', { id })).toMatchObject({
      success: false,
      resumed: false,
      code: 'CONFLICT',
    });
  });
});

describe('LIST', () => {
  it('is a bare array for any payload, states in lower case', async () => {
    const { id, pid } = await client.spawn(sleeper({ name: 'listed', restart_policy: 'always' }));
    for (const payload of ['', '{}', 'junk', '[]', '{"all":"yes"}']) {
      const rows = JSON.parse(await client.callText(0x12, payload));
      expect(rows).toHaveLength(1);
      expect(rows[0]).toMatchObject({
        id,
        pid,
        name: 'listed',
        state: 'running',
        running: true,
        restarts: 0,
        restart_policy: 'always',
        isolation: { fully_isolated: true },
      });
      expect(rows[0].memory).toBeGreaterThan(0);
      expect(rows[0].uptime_ms).toBeGreaterThanOrEqual(0);
    }
  });
});

describe('output', () => {
  it('of one agent at full speed leaves others their kernel', async () => {
    const { id } = await client.spawn(shell('while :; do head -c 100000000 /dev/zero; done'));
    const log = kernel.running.kernel.agents.get(id)?.stdout;
    await until(() => (log?.totalBytes ?? 0) > 20_000_000);
    const before = process.memoryUsage().rss;
    const from = log?.totalBytes ?? 0;
    let calls = 0;
    while ((log?.totalBytes ?? 0) - from < 100_000_000) {
      expect((await client.call('HELLO')).success).toBe(true);
      calls += 1;
    }
    expect(calls).toBeGreaterThan(100);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20);
    expect(log?.keptBytes).toBe(64 * 1024);
  });

  it('of a flood is bounded and counted, and does not end the agent', async () => {
    const exit = await client.run(
      shell('head -c 50000000 /dev/zero | tr "\\0" x; echo end', { log_bytes: 1000 }),
    );
    expect(exit.exit_code).toBe(0);
    const logs = await client.call('LOGS', { id: exit.agent_id });
    expect(logs.stdout).toHaveLength(1000);
    expect(logs.stdout.endsWith('xend\n')).toBe(true);
    expect(logs).toMatchObject({ stdout_bytes: 50_000_004, stdout_dropped: 49_999_004 });
    expect((await client.call('LOGS', { id: exit.agent_id, max_bytes: 4 })).stdout).toBe('end\n');
  });

  it('is answered from a place on, the first of it, so that whoever goes on misses nothing', async () => {
    const { agent_id: id } = await client.run(shell('printf "0123456789é"', { log_bytes: 10 }));
    const pieces: string[] = [];
    for (let from = 0, total = 1; from < total; ) {
      const logs = await client.call('LOGS', { id, stdout_from: from, max_bytes: 4 });
      expect(logs).toMatchObject({ stdout_bytes: 12, stdout_dropped: 2, ended: true });
      pieces.push(logs.stdout);
      from = logs.stdout_to;
      total = logs.stdout_bytes;
    }
    expect(pieces).toEqual(['2345', '6789', 'é']);
    const behind = await client.call('LOGS', { id, stdout_from: 99, stderr_from: 0 });
    expect(behind).toMatchObject({ stdout: '', stdout_to: 12, stderr_to: 0 });
    expect(await client.call('LOGS', { id, stdout_from: 10, max_bytes: 1 })).toMatchObject({ stdout_to: 11 });
  });

  it('holds back the half of a character until the other half has come, or the end', async () => {
    const folder = path.join(kernel.folder, 'told');
    mkdirSync(folder);
    const when = (name: string) => `while [ ! -e /told/${name} ]; do sleep 0.01; done`;
    const script = `printf "a\\303"; ${when('more')}; printf "\\251"; ${when('end')}; printf "\\303"`;
    const mounts = [{ source: folder, target: '/told' }];
    const { id } = await client.spawn(shell(script, { mounts }));
    await until(async () => (await client.call('LOGS', { id })).stdout_bytes === 2);
    expect(await client.call('LOGS', { id, stdout_from: 0 })).toMatchObject({ stdout: 'a', stdout_to: 1 });
    expect(await client.call('LOGS', { id, stdout_from: 1, timeout_ms: 20 })).toMatchObject({
      stdout: '',
      stdout_to: 1,
      ended: false,
    });
    const rest = client.call('LOGS', { id, stdout_from: 1, stderr_from: 0, timeout_ms: 60_000 });
    writeFileSync(path.join(folder, 'more'), '');
    expect(await rest).toMatchObject({ stdout: 'é', stdout_to: 3, ended: false });
    const end = client.call('LOGS', { id, stdout_from: 3, timeout_ms: 60_000 });
    writeFileSync(path.join(folder, 'end'), '');
    expect(await end).toMatchObject({ stdout: '\uFFFD', stdout_to: 4, ended: true });
    expect(await client.call('LOGS', { id, stdout_from: 4, timeout_ms: 60_000 })).toMatchObject({
      stdout: '',
      ended: true,
    });
  });

  it('that is not text comes as U+FFFD and breaks nothing', async () => {
    const exit = await client.run(shell("printf '\\377\\376ok'"));
    expect(exit.stdout).toBe('\uFFFD\uFFFDok');
  });
});

describe('the SDK inside', () => {
  it('is importable by a Node agent with nothing installed', async () => {
    const folder = path.join(kernel.folder, 'node');
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    const file = path.join(folder, 'agent.ts');
    writeFileSync(
      file,
      `import * as sdk from 'clove/sdk';\nconst count: number = Object.keys(sdk).length;\nconsole.log(count > 0);\n`,
    );
    const exit = await client.run({ script: file });
    expect(exit).toMatchObject({ exit_code: 0, stdout: 'true\n' });
  });

  it('is how an agent’s figures count, NOOPs included', async () => {
    const calls = Array.from({ length: 5 }, () => ['NOOP', 'x'] as const);
    const { id } = await client.spawn(callingAgent([...calls, ['METRICS_AGENT', {}]]));
    await client.call('WAIT', { id });
    const [{ stdout }] = [await client.call('LOGS', { id })];
    const { answer } = JSON.parse(stdout).at(-1);
    expect(answer.metrics.kernel_stats.syscall_count).toBe(6);
  });
});
