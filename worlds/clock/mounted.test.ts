import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { launch } from '../../native/index.ts';
import { cleanUp, readAll, testSpec } from '../../native/sandbox-testing.ts';
import type { ClockInput } from './index.ts';
import { expectTook, measured, python } from './measure-testing.ts';
import type { MountedClockOptions } from './mounted.ts';
import { ClockFixture, removeGroup, unifiedMount } from './testing.ts';

const HOUR_MS = 3_600_000;
const hasGroups = unifiedMount() !== null && process.geteuid?.() === 0;
let fixture: ClockFixture | null = null;
const folders: string[] = [];

function worldOf(input: ClockInput, options?: MountedClockOptions): ClockFixture {
  fixture = new ClockFixture(input, options);
  return fixture;
}

beforeEach((context) => {
  if (!hasGroups) context.skip('needs root and a version 2 control group hierarchy');
});

afterEach(async () => {
  await fixture?.close();
  fixture = null;
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

afterAll(cleanUp);

describe('a mounted clock', () => {
  it('skips eight hours of an agent in a sandbox, under the system call filter', async () => {
    const world = worldOf({ mode: 'skip', start: '2031-05-06T07:00:00Z' });
    const parts = world.world.attachment(1);
    const program = `import datetime, subprocess
measure(lambda: time.sleep(8 * 3600))
measure(lambda: threading.Event().wait(60))
measure(lambda: subprocess.run(["/bin/sleep", "30"], env={}))
print(datetime.datetime.now(datetime.timezone.utc).isoformat())`;
    const spec = testSpec(python(program), { limits: { cpuQuotaUs: null } });
    const sandbox = await launch({ ...spec, env: { ...spec.env, ...parts.env }, mounts: parts.mounts });
    world.world.admit(1, sandbox.pid, [sandbox.initPid]);
    const [stdout, stderr, exit] = await Promise.all([
      readAll(sandbox.stdoutFd),
      readAll(sandbox.stderrFd),
      sandbox.exited,
    ]);
    expect(exit.exitCode, stderr).toBe(0);
    const lines = measured(stdout);
    expectTook(lines[0] ?? { virtualS: 0, realS: 0 }, 8 * 3600);
    expectTook(lines[1] ?? { virtualS: 0, realS: 0 }, 60);
    expectTook(lines[2] ?? { virtualS: 0, realS: 0 }, 30);
    expect(stdout).toMatch(/2031-05-06T15:0[12]:/);
    expect(world.world.clock.status().degradations).toEqual([]);
  });

  it('leaves nothing behind', async () => {
    const folders = () =>
      readdirSync('/dev/shm').filter((name) => name.startsWith(`clove-clock-${process.pid}-`));
    const before = folders();
    const world = worldOf('skip');
    await world.run(['sleep', '1']);
    expect(folders().length).toBe(before.length + 1);
    await world.close();
    expect(folders()).toEqual(before);
  });

  it('fires the timers of the kernel’s side on the way, in order', async () => {
    const world = worldOf('skip');
    const { clock } = world.world;
    const seen: [string, number][] = [];
    const startMs = clock.monotonicMs();
    clock.setTimer(startMs + 2 * HOUR_MS, () => seen.push(['second', clock.monotonicMs() - startMs]));
    clock.setTimer(startMs + HOUR_MS, () => seen.push(['first', clock.monotonicMs() - startMs]));
    const slept = clock
      .sleep(1.5 * HOUR_MS)
      .then(() => seen.push(['sleeper', clock.monotonicMs() - startMs]));
    const { realMs } = await world.run(['sleep', String((3 * HOUR_MS) / 1000)]);
    await slept;
    expect(seen.map(([name]) => name)).toEqual(['first', 'sleeper', 'second']);
    seen.forEach(([, atMs], i) => {
      const dueMs = HOUR_MS * (1 + i / 2);
      expect(atMs).toBeGreaterThanOrEqual(dueMs);
      expect(atMs).toBeLessThanOrEqual(dueMs + realMs + 10);
    });
    expect(clock.status().skippedMs).toBeGreaterThan(3 * HOUR_MS - realMs - 1000);
    expect(clock.jumpLog().length).toBe(clock.status().jumps);
  });

  it('does not run away without anybody who waits', async () => {
    const world = worldOf('skip');
    world.world.clock.setTimer(HOUR_MS, () => {});
    await delay(100);
    expect(world.world.clock.status().jumps).toBe(0);
  });

  it('lets time pass really while a lease is held, and is on time then, too', async () => {
    const world = worldOf('skip');
    const { clock } = world.world;
    // The main thread begins a wait of 100 s; another comes within 0.4 s of its end in small steps, then the lease begins.
    const agent = world.start(
      python(`
def near():
    for _ in range(996): time.sleep(0.1)
    print("near", flush=True)
threading.Thread(target=near).start()
measure(lambda: threading.Event().wait(100))`),
    );
    clock.setTimer(clock.monotonicMs() + 1, () => {});
    await agent.wrote('near');
    const lease = clock.lease('a model call');
    expect(clock.status().leases).toEqual(['a model call']);
    const { stdout } = await agent.finished;
    lease[Symbol.dispose]();
    const [waited] = measured(stdout.replace('near\n', ''));
    expectTook(waited ?? { virtualS: 0, realS: 0 }, 100);
    expect(clock.status().leases).toEqual([]);
  });

  it('steps: stands still, and meets every deadline on the way of an advance', async () => {
    const world = worldOf({ mode: 'step', start: '2030-01-01T00:00:00Z' });
    const { clock } = world.world;
    const agent = world.start(
      python(`
print("start", time.time(), flush=True)
for _ in range(10):
    time.sleep(100)
    print("tick", time.time(), flush=True)`),
    );
    await agent.wrote('start');
    const before = clock.monotonicMs();
    await delay(30);
    expect(clock.monotonicMs()).toBe(before);
    await clock.advance(450_000);
    await agent.wrote('1893456400');
    expect(clock.monotonicMs()).toBe(before + 450_000);
    await clock.advance(550_000);
    const { stdout } = await agent.finished;
    const ticks = [...stdout.matchAll(/tick ([\d.]+)/g)].map(([, at]) => Math.round(Number(at)));
    expect(ticks).toEqual(Array.from({ length: 10 }, (_, i) => Date.UTC(2030, 0, 1) / 1000 + 100 * (i + 1)));
  });

  it('scales', async () => {
    const world = worldOf({ mode: 'scale', scale: 20 });
    const { stdout } = await world.run(
      python('measure(lambda: time.sleep(4))\nmeasure(lambda: threading.Event().wait(4))'),
    );
    for (const { virtualS, realS } of measured(stdout)) {
      expect(virtualS).toBeGreaterThanOrEqual(4);
      expect(realS).toBeGreaterThanOrEqual(0.19);
      expect(virtualS).toBeLessThanOrEqual((realS + 0.02) * 20);
    }
  });

  it('goes on from a snapshot', async () => {
    const first = worldOf({ mode: 'skip', start: '2030-01-01T00:00:00Z' });
    await first.run(['sleep', '3600']);
    const state = first.world.clock.snapshot();
    await first.close();
    const second = worldOf('skip', { restored: state });
    const { stdout } = await second.run(['date', '-u', '+%FT%H']);
    expect(stdout.trim()).toBe('2030-01-01T01');
    expect(second.world.clock.monotonicMs()).toBeGreaterThanOrEqual(state.monotonicMs);
  });

  it('tells processes another date while it is skewed, and waits as before', async () => {
    const world = worldOf({ mode: 'step', start: '2030-01-01T00:00:00Z' });
    const { clock } = world.world;
    const agent = world.start(
      python(`
for _ in range(3):
    print("date", round(time.time()), round(time.monotonic()), flush=True)
    time.sleep(100)`),
    );
    await agent.wrote('date');
    clock.skew?.(3_600_000);
    await clock.advance(100_000);
    await agent.wrote(String(Date.UTC(2030, 0, 1, 1) / 1000 + 100));
    expect(Math.round(clock.nowMs() / 1000)).toBe(Date.UTC(2030, 0, 1) / 1000 + 100);
    clock.skew?.(0);
    await clock.advance(200_000);
    const { stdout } = await agent.finished;
    const told = [...stdout.matchAll(/date (\d+) (\d+)/g)].map(([, date, up]) => [Number(date), Number(up)]);
    const [first = [0, 0]] = told;
    const since = (index: 0 | 1) => told.map((each) => (each[index] ?? 0) - (first[index] ?? 0));
    expect(since(0)).toEqual([0, 3700, 200]);
    expect(since(1)).toEqual([0, 100, 200]);
  });

  it('skips only when all agents wait, and no call between them runs out of time', async () => {
    const world = worldOf('skip');
    const server = world.start(
      python(`
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
for _ in range(100):
    peer, _ = listener.accept()
    with peer:
        peer.recv(9)
        time.sleep(0.9)
        peer.sendall(b"pong")`),
    );
    await server.wrote('port');
    const port = /port (\d+)/.exec(server.output())?.[1];
    const client = world.start(
      python(`
def call():
    with socket.create_connection(("127.0.0.1", ${port}), timeout=1) as peer:
        peer.sendall(b"ping")
        assert peer.recv(9) == b"pong"
    time.sleep(60)
for _ in range(100): measure(call)`),
    );
    const [, { stdout, stderr, code }] = await Promise.all([server.finished, client.finished]);
    expect(code, stderr).toBe(0);
    for (const took of measured(stdout)) expectTook(took, 60.9);
  });

  it('waits for what leads out of the world: no false time-out against a real server', async () => {
    const sockets: Server = createServer((peer) => {
      peer.on('error', () => {});
      peer.once('data', () => setTimeout(() => peer.end('pong'), 60));
    });
    await new Promise<void>((resolve) => {
      sockets.listen(0, '127.0.0.1', resolve);
    });
    try {
      const { port } = sockets.address() as { port: number };
      // Another agent would have time jump by an hour whenever nothing holds it.
      const world = worldOf('skip');
      const other = world.start(python('while True: time.sleep(3600)'));
      const { stdout, stderr, code } = await world.run(
        python(`
def call():
    with socket.create_connection(("127.0.0.1", ${port}), timeout=20) as peer:
        peer.sendall(b"ping")
        assert peer.recv(9) == b"pong"
for _ in range(10): measure(call)`),
        { connectsOutside: true },
      );
      other.child.kill('SIGKILL');
      expect(code, stderr).toBe(0);
      for (const { virtualS, realS } of measured(stdout)) expect(virtualS).toBeLessThanOrEqual(realS + 0.07);
    } finally {
      sockets.close();
    }
  });

  it('is not held up by agents that were killed while they waited', async () => {
    const world = worldOf('skip');
    const lease = world.world.clock.lease('until the victims wait');
    const victims = [1, 2, 3].map(() =>
      world.start(python('print("up", flush=True)\nthreading.Event().wait(5)')),
    );
    await Promise.all(victims.map((victim) => victim.wrote('up')));
    for (const { child } of victims) child.kill('SIGKILL');
    lease[Symbol.dispose]();
    const { stdout } = await world.run(python('measure(lambda: time.sleep(3600))'));
    expectTook(measured(stdout)[0] ?? { virtualS: 0, realS: 0 }, 3600);
  });
});

describe('a coordinator that is killed', () => {
  const groups: string[] = [];
  let kernel: ChildProcess | null = null;

  afterEach(async () => {
    kernel?.kill('SIGKILL');
    for (const group of groups.splice(0)) await removeGroup(group);
    for (const name of readdirSync('/dev/shm'))
      if (name.startsWith(`clove-clock-${kernel?.pid}-`)) rmSync(`/dev/shm/${name}`, { recursive: true });
  });

  it.for(['skip', 'step', 'strict'])(
    'leaves agents at real speed (%s)',
    { timeout: 60_000 },
    async (mode) => {
      const folder = mkdtempSync(path.join(tmpdir(), 'clove-clock-test-'));
      folders.push(folder);
      const file = path.join(folder, 'times');
      kernel = spawn(
        process.execPath,
        [path.join(import.meta.dirname, 'conformance/coordinator-testing.ts'), mode, file],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      const first = await new Promise<string>((resolve) =>
        kernel?.stdout?.once('data', (part) => resolve(String(part))),
      );
      groups.push(first.trim().split(' ')[1] ?? '');
      const lines = () => (existsSync(file) ? measured(readFileSync(file, 'utf8')) : []);
      if (mode === 'skip') while (lines().length < 20) await delay(10);
      else while (!existsSync(file)) await delay(10);
      kernel.kill('SIGKILL');
      const before = lines().length;
      while (lines().length < before + 4) await delay(20);
      // The wait during which it died may be a mixture.
      for (const { virtualS, realS } of lines().slice(before + 2)) {
        expect(virtualS).toBeGreaterThanOrEqual(0.5);
        // The real time encloses the other, but for a tick of /proc/uptime at each end.
        expect(virtualS).toBeLessThanOrEqual(realS + 0.021);
      }
    },
  );
});
