import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, type TestClient, TestKernel, until } from '../fixture.ts';

const isRoot = process.geteuid?.() === 0;

describe.skipIf(!isRoot)('agents of a template', () => {
  let kernel: TestKernel;
  let client: TestClient;
  let folder: string;

  const script = (name: string, source: string): string => {
    writeFileSync(path.join(folder, name), source, { mode: 0o644 });
    return path.join(folder, name);
  };
  const mounts = () => [{ source: folder, target: folder }];
  const python = () => ({
    python: '/usr/bin/python3',
    template: { runtime: 'python', preload: ['clove_sdk', 'json'] },
  });
  const node = () => ({
    template: {
      runtime: 'node',
      preload: ['clove/sdk'],
      warm_up: [script('warm.mjs', 'export let warm = 0; export function warmUp() { warm += 1; }')],
      mounts: mounts(),
    },
  });
  /** Host pid of the template's interpreter: the one that a just spawned agent's PID 1 is a child of. */
  const templateOf = (pid: number): number => {
    const parentOf = (child: number) =>
      Number(/\nPPid:\t(\d+)/.exec(readFileSync(`/proc/${child}/status`, 'utf8'))?.[1]);
    return parentOf(parentOf(pid));
  };

  beforeAll(async () => {
    kernel = await TestKernel.boot();
    client = await kernel.connect();
    folder = path.join(kernel.folder, 'agents');
    mkdirSync(folder, { mode: 0o755 });
  }, 180_000);

  afterAll(async () => {
    await kernel.close();
    // Nothing runs any more: no process of this kernel has the template as its command line.
    const left = readdirSync('/proc').filter((pid) => {
      try {
        return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(kernel.folder);
      } catch {
        return false;
      }
    });
    expect(left.filter((pid) => Number(pid) !== process.pid)).toEqual([]);
  });

  it('talk to the kernel with the SDK that was loaded before, each as itself', async () => {
    const inPython = script(
      'agent.py',
      `import sys, os, clove_sdk
with clove_sdk.CloveClient() as clove:
    clove.send_message({"name": os.environ["CLOVE_AGENT_NAME"], "secret": os.environ.get("SECRET"), "argv": sys.argv[2:], "stdin": sys.stdin.read()}, to_name="parent")
`,
    );
    const inNode = script(
      'agent.ts',
      `import { readFileSync } from 'node:fs';
import { connect } from 'clove/sdk';
import { warm } from ${JSON.stringify(path.join(folder, 'warm.mjs'))};
const clove = await connect();
const { CLOVE_AGENT_NAME: name, SECRET: secret } = process.env;
await clove.send('parent', { name, secret, warm, argv: process.argv.slice(3), stdin: readFileSync(0, 'utf8') });
await clove.close();
`,
    );
    for (const [request, expected] of [
      [{ script: inPython, ...python() }, {}],
      [{ script: inNode, ...node() }, { warm: 1 }],
    ] as const) {
      for (const name of ['one', 'two']) {
        const spawned = await client.spawn({
          ...request,
          name,
          args: ['a'],
          stdin: `in ${name}`,
          env: { SECRET: `of ${name}` },
        });
        expect(spawned.template).toEqual({ used: true, reason: null });
        expect(spawned.isolation).toMatchObject({ fully_isolated: true, off: [], degraded: [] });
        const exit = await client.call('WAIT', { id: spawned.id });
        expect(exit, exit.log_tail).toMatchObject({ reason: 'exited', exit_code: 0 });
        const { messages } = await client.call('RECV');
        expect(messages).toMatchObject([
          {
            from: spawned.id,
            message: { name, secret: `of ${name}`, argv: ['a'], stdin: `in ${name}`, ...expected },
          },
        ]);
      }
    }
  });

  it('are restarted, paused, killed, limited and ended in time like others', async () => {
    const flaky = script('flaky.py', 'import sys\nsys.exit(5)\n');
    const restarted = await client.spawn({
      script: flaky,
      ...python(),
      restart_policy: 'on-failure',
      max_restarts: 2,
      restart_backoff_ms: 1,
    });
    expect(await client.call('WAIT', { id: restarted.id })).toMatchObject({ exit_code: 5, restart_count: 2 });
    const sleeps = script('sleeps.py', 'import time\ntime.sleep(600)\n');
    const sleeper = await client.spawn({ script: sleeps, ...python() });
    expect(await client.call('PAUSE', { id: sleeper.id })).toMatchObject({ paused: true });
    expect(await client.call('RESUME', { id: sleeper.id })).toMatchObject({ resumed: true });
    expect(await client.call('KILL', { id: sleeper.id })).toMatchObject({ killed: true });
    expect(await client.run({ script: sleeps, ...python(), timeout_ms: 50 })).toMatchObject({
      reason: 'timeout',
    });
    const hog = script('hog.py', 'x = []\nwhile True: x.append(bytearray(1 << 20))\n');
    expect(await client.run({ script: hog, ...python(), limits: { memory_mb: 48 } })).toMatchObject({
      reason: 'oom',
    });
  });

  it('are started as programs, with the reason, where no template can serve them', async () => {
    const file = script('says.py', 'import os\nprint("said", os.environ.get("PYTHONHASHSEED"))\n');
    for (const [changes, reason] of [
      [{ env: { PYTHONHASHSEED: '1' } }, /PYTHONHASHSEED only counts/],
      [{ network: true }, /host’s network/],
      [{ isolation: { disable: ['seccomp'] } }, /layer seccomp/],
      [{ isolation: { profile: 'debug' } }, /profile debug/],
      [{ limits: { open_files: 5000 } }, /open files/],
      [{ template: { runtime: 'python', preload: ['no_such_module'] } }, /ended: .*no_such_module/],
    ] as const) {
      const spawned = await client.spawn({ script: file, ...python(), ...changes });
      expect(spawned.template).toEqual({ used: false, reason: expect.stringMatching(reason) });
      expect(await client.call('WAIT', { id: spawned.id })).toMatchObject({
        exit_code: 0,
        log_tail: expect.stringContaining('said'),
      });
    }
    for (const [request, message] of [
      [{ command: ['python3', file], ...python() }, /needs a script/],
      [{ script: file, template: { runtime: 'node' } }, /for python, not for node/],
      [{ script: file, template: { runtime: 'ruby' } }, /template/],
    ] as const) {
      const answer = await client.call('SPAWN', request);
      expect(answer).toMatchObject({ success: false });
      expect(answer.error).toMatch(message);
    }
  });

  it('outlive their template, which is replaced', async () => {
    const waits = script(
      'waits.py',
      'import time, os\nwhile not os.path.exists("/tmp/go"): time.sleep(0.01)\nprint("went")\n',
    );
    const spec = { script: waits, ...python(), template: { runtime: 'python', preload: ['string'] } };
    const survivor = await client.spawn(spec);
    const template = templateOf(survivor.pid);
    expect(readFileSync(`/proc/${template}/cmdline`, 'utf8')).toContain('clove_template');
    process.kill(template, 'SIGKILL');
    let next: Answer = null;
    await until(async () => {
      next = await client.spawn(spec);
      return next.template.used && templateOf(next.pid) !== template;
    });
    for (const { id } of [survivor, next]) {
      const agent = kernel.running.kernel.agents.get(id);
      expect(agent?.state).toBe('running');
    }
    const handle = kernel.running.kernel.agents.get(survivor.id)?.sandbox;
    await handle?.exec({ argv: ['/bin/touch', '/tmp/go'], env: {}, cwd: '/', stdin: null, timeoutMs: null });
    expect(await client.call('WAIT', { id: survivor.id })).toMatchObject({
      reason: 'exited',
      exit_code: 0,
      log_tail: 'went\n',
    });
    for (const { id } of await client.call('LIST')) await client.call('KILL', { id, grace_ms: 0 });
  });

  it('of different owners or declarations have different templates', async () => {
    const sleeps = script('sleeps.py', 'import time\ntime.sleep(600)\n');
    const same = await client.spawn({ script: sleeps, ...python() });
    const again = await client.spawn({ script: sleeps, ...python() });
    const other = await client.spawn({
      script: sleeps,
      ...python(),
      template: { runtime: 'python', preload: ['json', 'clove_sdk'] },
    });
    expect(templateOf(again.pid)).toBe(templateOf(same.pid));
    expect(templateOf(other.pid)).not.toBe(templateOf(same.pid));
    for (const { id } of [same, again, other]) await client.call('KILL', { id, grace_ms: 0 });
  });
});
