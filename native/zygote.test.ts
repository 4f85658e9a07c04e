import { readdirSync, readFileSync, readlinkSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { layersOffInTemplate } from './index.ts';
import { cleanUp, noGroupsLeft, readAll, runToEnd } from './sandbox-testing.ts';
import {
  endTemplates,
  mounts,
  NODE,
  PYTHON,
  prepareTemplates,
  run,
  script,
  start,
  startTemplate,
  type Template,
  userOf,
} from './zygote-testing.ts';

it('leaves the cgroup namespace off a template where it is a wall for processes', () => {
  const mount = (options: string) =>
    `30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 ${options}\n31 23 0:27 / /sys rw - sysfs sysfs rw\n`;
  expect(layersOffInTemplate(mount('rw'))).toEqual(['landlock']);
  expect(layersOffInTemplate(mount('rw,nsdelegate,memory_recursiveprot'))).toEqual(['landlock', 'cgroupns']);
  expect(layersOffInTemplate(mount('rw,memory_recursiveprot,nsdelegate'))).toEqual(['landlock', 'cgroupns']);
});

const isRoot = process.geteuid?.() === 0;
describe.skipIf(!isRoot)('agents forked from a template', () => {
  let node: Template;
  let python: Template;

  beforeAll(async () => {
    await prepareTemplates();
    script(
      'warm.mjs',
      'globalThis.loadedIn = process.pid; export let warm = 0; export function warmUp() { warm += 1; }',
    );
    node = await startTemplate('node', ['/opt/scripts/warm.mjs'], ['/opt/scripts/warm.mjs']);
    python = await startTemplate('python', ['random', 'ssl', 'json', 'tempfile']);
  }, 180_000);

  afterAll(async () => {
    await endTemplates();
    await noGroupsLeft();
    await cleanUp();
  });

  it('have every layer on, seen from outside, with argv, environment and folder of their own', async () => {
    const file = script(
      'who.mjs',
      `import fs from 'node:fs'; const status = fs.readFileSync('/proc/self/status', 'utf8');
       console.log(JSON.stringify({ argv: process.argv, env: process.env, cwd: process.cwd(), uid: process.getuid(), pid: process.pid,
         warm: (await import('/opt/scripts/warm.mjs')).warm, preloaded: globalThis.loadedIn !== undefined,
         caps: status.match(/Cap\\w+:\\t\\w+/g), groups: fs.readFileSync('/proc/self/cgroup', 'utf8') }));
       process.exitCode = 3;`,
    );
    const { exitCode, stdout, stderr, sandbox, reason } = await run(node, file, ['a', 'b'], {
      env: { SECRET: 'x' },
      cwd: '/tmp',
    });
    expect(stderr).toBe('');
    expect({ reason, exitCode }).toEqual({ reason: 'exited', exitCode: 3 });
    const seen = JSON.parse(stdout);
    expect(seen).toMatchObject({
      argv: [NODE, file, 'a', 'b'],
      env: { SECRET: 'x' },
      cwd: '/tmp',
      pid: 2,
      warm: 1,
      preloaded: true,
    });
    expect(seen.env).toEqual({ SECRET: 'x' });
    for (const set of seen.caps) expect(set).toMatch(/:\t0+$/);
    for (const line of seen.groups.trim().split('\n')) expect(line).toMatch(/:\/$/);
    const off = sandbox.layers.filter(({ state }) => state !== 'on').map(({ layer }) => layer);
    expect(off).toEqual(['timens', 'overlay', 'cpuset']);
    expect(sandbox.layers.find(({ layer }) => layer === 'userns')?.how).toMatch(/seen from outside$/);
  });

  it('run Python programs as the interpreter would', async () => {
    const file = script(
      'who.py',
      'import os, sys, json\nprint(json.dumps([__name__, __file__, sys.argv, dict(os.environ), os.getpid(), sys.path[0]]))\nsys.exit(4)\n',
    );
    const { exitCode, stdout, stderr, sandbox } = await run(python, file, ['a'], { env: { SECRET: 'y' } });
    expect(stderr).toBe('');
    expect(exitCode).toBe(4);
    expect(JSON.parse(stdout)).toEqual(['__main__', file, [file, 'a'], { SECRET: 'y' }, 2, '/opt/scripts']);
    expect(sandbox.layers.filter(({ state }) => state === 'off')).toEqual([]);
    const failing = script('fails.py', 'def f():\n    raise ValueError("no")\nf()\n');
    const failed = await run(python, failing);
    expect(failed.exitCode).toBe(1);
    expect(failed.stderr).toContain('ValueError: no');
    expect(failed.stderr).not.toContain('clove_template');
  });

  it('end as Node ends: by status, exception, signal, with promises open', async () => {
    const ends: [source: string, expected: object][] = [
      ['', { exitCode: 0 }],
      ['process.exit(7)', { exitCode: 7 }],
      ["process.on('exit', () => { process.exitCode = 8; })", { exitCode: 8 }],
      ["throw new Error('thrown')", { exitCode: 1 }],
      ["Promise.reject(new Error('rejected'))", { exitCode: 1 }],
      ['await new Promise(() => {})', { exitCode: 13 }],
      ['process.abort()', { exitCode: null, signal: 'SIGABRT' }],
      ["setTimeout(() => process.kill(process.pid, 'SIGTERM'), 5)", { exitCode: null, signal: 'SIGTERM' }],
    ];
    for (const [index, [source, expected]] of ends.entries()) {
      const outcome = await run(node, script(`end-${index}.mjs`, source));
      expect(outcome, `${source}: ${outcome.stderr}`).toMatchObject(expected);
      if (source.includes('Error')) expect(outcome.stderr).toMatch(/Error: (thrown|rejected)\n {4}at/);
    }
    expect(
      await run(node, script('common.cjs', 'process.exit(require.main === module ? 5 : 6)')),
    ).toMatchObject({ exitCode: 5 });
    expect(
      await run(node, script('typed.ts', 'const status: number = 9; process.exit(status);')),
    ).toMatchObject({ exitCode: 9 });
  });

  it('have all of Node: timers, files, sockets, processes, threads, WebAssembly and its traps', async () => {
    const file = script(
      'all.mjs',
      `import fs from 'node:fs/promises'; import net from 'node:net'; import { execFileSync, spawn } from 'node:child_process';
       import { Worker } from 'node:worker_threads'; import zlib from 'node:zlib'; import { promisify } from 'node:util';
       await new Promise((resolve) => setTimeout(resolve, 2));
       await fs.writeFile('/tmp/x', 'text'); const text = await fs.readFile('/tmp/x', 'utf8');
       const server = net.createServer((socket) => socket.end('over tcp')).listen(0, '127.0.0.1');
       await new Promise((resolve) => server.on('listening', resolve));
       const said = await new Promise((resolve) => net.connect(server.address().port, '127.0.0.1').on('data', (d) => resolve(String(d))));
       server.close();
       const child = spawn('/bin/sh', ['-c', 'echo child; exit 3']); let output = ''; child.stdout.on('data', (d) => { output += d; });
       const code = await new Promise((resolve) => child.on('close', resolve));
       const answer = await new Promise((resolve) => new Worker('require("worker_threads").parentPort.postMessage(6 * 7)', { eval: true }).on('message', resolve));
       const packed = await promisify(zlib.gzip)('z'.repeat(1000));
       const bytes = new Uint8Array([0,97,115,109,1,0,0,0,1,6,1,96,1,127,1,127,3,2,1,0,5,3,1,0,1,7,5,1,1,102,0,0,10,9,1,7,0,32,0,40,2,0,11]);
       const { instance } = await WebAssembly.instantiate(bytes); let trap = ''; try { instance.exports.f(1 << 30); } catch (error) { trap = error.constructor.name; }
       let garbage = []; for (let i = 0; i < 2e6; i++) { garbage.push({ i }); if (garbage.length > 1e5) garbage = []; }
       console.log(JSON.stringify({ text, said, output, code, answer, packed: packed.length < 100, trap, sync: String(execFileSync('/bin/echo', ['sync'])) }));`,
    );
    const { stdout, stderr, exitCode } = await run(node, file, [], {
      limits: { memoryBytes: 512 * 2 ** 20 },
    });
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    expect(JSON.parse(stdout)).toEqual({
      text: 'text',
      said: 'over tcp',
      output: 'child\n',
      code: 3,
      answer: 42,
      packed: true,
      trap: 'RuntimeError',
      sync: 'sync\n',
    });
  });

  it('draw luck of their own', async () => {
    const inNode = script(
      'luck.mjs',
      "import c from 'node:crypto'; console.log(JSON.stringify([Math.random(), c.randomUUID(), c.randomUUIDv7().slice(-12), c.randomInt(2 ** 40), c.randomBytes(8).toString('hex'), crypto.getRandomValues(new Uint32Array(1))[0]]))",
    );
    const inPython = script(
      'luck.py',
      'import random, ssl, tempfile, json, uuid\nprint(json.dumps([random.random(), ssl.RAND_bytes(8).hex(), tempfile.mktemp(), str(uuid.uuid4())]))\n',
    );
    for (const [template, file] of [
      [node, inNode],
      [python, inPython],
    ] as const) {
      const draws: unknown[][] = [];
      for (let i = 0; i < 4; i++) draws.push(JSON.parse((await run(template, file)).stdout));
      for (const [index] of (draws[0] as unknown[]).entries())
        expect(new Set(draws.map((draw) => draw[index])).size, `draw ${index}`).toBe(4);
    }
  });

  it('see neither template nor siblings, hold nothing of theirs, and cannot make namespaces', async () => {
    const sleeper = await start(
      python,
      script('sleeps.py', 'import time\nprint("up", flush=True)\ntime.sleep(600)\n'),
      [],
      { env: { SECRET: 'sibling-secret' } },
    );
    const file = script(
      'looks.py',
      `import os, json, ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(f, *a):
    return os.strerror(ctypes.get_errno()) if f(*a) != 0 else 'ok'
fds = {}
for fd in os.listdir('/proc/self/fd'):
    try: fds[fd] = os.readlink('/proc/self/fd/' + fd)
    except OSError: pass
abstract = []
try: abstract = open('/proc/net/unix').read().splitlines()[1:]
except OSError as e: abstract = []
print(json.dumps(dict(
    pids=sorted(int(p) for p in os.listdir('/proc') if p.isdigit()),
    fds=fds, abstract=abstract, env=dict(os.environ),
    unshare=call(libc.unshare, 0x10000000), mount=call(libc.mount, b'none', b'/tmp', b'tmpfs', 0, None),
    setuid=call(libc.setuid, 0), map=open('/proc/self/uid_map').read().split(),
    mapwrite=os.access('/proc/self/uid_map', os.W_OK),
    init=os.access('/proc/1/mem', os.R_OK), root=sorted(os.listdir('/')))))
`,
    );
    const { stdout, stderr, sandbox } = await run(python, file, [], { env: {} });
    expect(stderr).toBe('');
    const seen = JSON.parse(stdout);
    expect(seen.pids).toEqual([2]);
    expect(seen.abstract).toEqual([]);
    expect(seen).toMatchObject({
      env: {},
      unshare: 'Operation not permitted',
      mount: 'Operation not permitted',
      mapwrite: false,
      init: false,
    });
    expect(seen.setuid).not.toBe('ok');
    for (const target of Object.values(seen.fds)) expect(target).toMatch(/^(pipe:|\/(dev\/)?null$|\/proc\/)/);
    const namespaces = (pid: number) =>
      readdirSync(`/proc/${pid}/ns`).filter((name) => !/time|for_children/.test(name));
    const own = (pid: number) => namespaces(pid).map((name) => readlinkSync(`/proc/${pid}/ns/${name}`));
    const theirs = own(python.sandbox.pid);
    expect(own(sleeper.pid).filter((one) => theirs.includes(one))).toEqual([]);
    const shared = layersOffInTemplate().includes('cgroupns') ? /^(user|cgroup):/ : /^user:/;
    expect(own(process.pid).filter((one) => theirs.includes(one) && !shared.test(one))).toEqual([]);
    expect(sandbox.pid).not.toBe(sleeper.pid);
    expect(readFileSync(`/proc/${sleeper.pid}/status`, 'utf8')).toMatch(/\nCapBnd:\t0+\n/);
    expect(readFileSync(`/proc/${python.sandbox.pid}/status`, 'utf8')).toMatch(/\nCapBnd:\t0+\n/);
    sleeper.kill();
    expect(await sleeper.exited).toMatchObject({ reason: 'killed' });
  });

  it('are limited, frozen and ended like others, and the template stays', async () => {
    const hog = script('hog.py', 'x = []\nwhile True: x.append(bytearray(1 << 20))\n');
    expect(await run(python, hog, [], { limits: { memoryBytes: 64 * 2 ** 20 } })).toMatchObject({
      reason: 'oom',
    });
    const forks = script(
      'forks.py',
      'import os\nn = 0\ntry:\n    while True:\n        if os.fork() == 0:\n            import time; time.sleep(60)\n        n += 1\nexcept OSError:\n    print(n)\n',
    );
    const { stdout, pidsRefused } = await run(python, forks, [], { limits: { maxPids: 8 } });
    expect(Number(stdout)).toBe(6);
    expect(pidsRefused).toBeGreaterThan(0);
    const spinner = await start(python, script('spins.py', 'while True: pass\n'));
    await spinner.freeze();
    const before = spinner.stats().cpuUsageUs;
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(spinner.stats().cpuUsageUs).toBe(before);
    spinner.kill('timeout');
    expect(await spinner.exited).toMatchObject({ reason: 'timeout' });
    const executed = await start(
      python,
      script('sleeps.py', 'import time\nprint("up", flush=True)\ntime.sleep(600)\n'),
    );
    const handle = await executed.exec({
      argv: ['/bin/sh', '-c', 'id -u'],
      env: {},
      cwd: '/',
      stdin: null,
      timeoutMs: null,
    });
    expect((await readAll(handle.stdoutFd)).trim()).toBe(String(userOf(executed)));
    await readAll(handle.stderrFd);
    executed.kill();
    await executed.exited;
    expect(await run(python, script('ok.py', 'print("ok")\n'))).toMatchObject({
      exitCode: 0,
      stdout: 'ok\n',
    });
  });

  it('are refused at every step of the setup without a trace', async () => {
    const file = script('ran.py', 'print("ran")\n');
    for (const faultStep of [
      'clone',
      'id_maps',
      'cgroup_attach',
      'cgroupns',
      'root_tmpfs',
      'mounts',
      'pivot_root',
      'uid',
      'capset',
      'landlock',
      'seccomp',
      'fork_agent',
      'verify',
      'gate2',
      'exec',
    ]) {
      await expect(run(python, file, [], { faultStep, faultErrno: 5 }), faultStep).rejects.toMatchObject({
        code: faultStep === 'exec' ? 'SANDBOX_UNAVAILABLE' : 'SANDBOX_UNAVAILABLE',
        details: { stage: faultStep, errno: 'EIO' },
      });
    }
    expect(await run(python, file)).toMatchObject({ stdout: 'ran\n' });
  });

  it('cost their memory only what they write', async () => {
    const mib = 2 ** 20;
    const heavy = script('heavy.py', 'DATA = b"x" * (64 << 20)\n');
    const reader = script('reader.py', 'import heavy\nprint(heavy.DATA.count(b"x"))\n');
    const loaded = await startTemplate('python', [heavy]);
    const forked = await run(loaded, reader);
    expect(forked).toMatchObject({ exitCode: 0, stdout: `${64 * mib}\n` });
    expect(forked.memoryPeakBytes).toBeLessThan(32 * mib);
    const apart = await runToEnd([PYTHON, reader], { mounts: mounts() });
    expect(apart).toMatchObject({ exitCode: 0, stdout: forked.stdout });
    expect(apart.memoryPeakBytes).toBeGreaterThan(64 * mib);
  });

  it('come only for whole requests of the kernel, which alone has the other end', async () => {
    for (const noise of ['x', 'x'.repeat(24), 'x'.repeat(5000)]) writeSync(python.channel, noise);
    const file = script('served.py', 'print("served")\n');
    expect(await run(python, file)).toMatchObject({ exitCode: 0, stdout: 'served\n' });
  });

  it('live on when their template is killed; it takes no more requests then', async () => {
    const mortal = await startTemplate('python');
    const survivor = await start(
      mortal,
      script(
        'answers.py',
        'import sys\nprint("up", flush=True)\nsys.stdin.readline()\nprint("still here")\n',
      ),
      [],
      { stdin: 'pipe' },
    );
    process.kill(mortal.sandbox.pid, 'SIGKILL');
    let refused: unknown = null;
    while (refused === null)
      refused = await run(mortal, script('ok.py', 'print("ok")\n')).then(
        () => null,
        (error: unknown) => error,
      );
    expect(refused).toMatchObject({ code: 'SANDBOX_UNAVAILABLE', details: { stage: 'clone' } });
    const stdin = new Socket({ fd: survivor.stdinFd as number, readable: false, writable: true });
    stdin.end('go\n');
    const [exit, stdout] = await Promise.all([survivor.exited, readAll(survivor.stdoutFd)]);
    expect({ ...exit, stdout }).toMatchObject({ reason: 'exited', exitCode: 0, stdout: 'up\nstill here\n' });
    expect(await mortal.sandbox.exited).toMatchObject({ signal: 'SIGKILL' });
  });
});
