/**
 * node bench/micro/clock.ts [section …]: what time costs in a world whose clock skips. Sections: read (one clock_gettime), day (24
 * hours of eight Python agents that call a ninth), node (24 idle hours of a Node agent), idle (one idle hour of 8, 24 and
 * 48 processes), real (calls to a real server that takes 200 ms), faketime (the same day of sleeps under libfaketime,
 * where it is installed). Needs root, a version 2 control group hierarchy, python3 and a C++ compiler.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { clockLibraryPath } from '../../native/clock.ts';
import { type ClockInput, clockSchema, createMountedClock, type MountedClock } from '../../worlds/index.ts';

const FAKETIME = `/usr/lib/${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-linux-gnu/faketime/libfaketime.so.1`;
const SECTIONS = ['read', 'day', 'node', 'idle', 'real', 'faketime'] as const;
const HOUR_S = 3600;

const folder = mkdtempSync(path.join(tmpdir(), 'clove-bench-clock-'));
const groups: string[] = [];
let lastMember = 0;

interface Member {
  readonly pid: number;
  readonly exited: Promise<string>;
}

function unifiedMount(): string {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((entry) => entry.includes(' - cgroup2 '));
  const mountPoint = line?.split(' ')[4];
  if (mountPoint === undefined) throw new Error('no version 2 control group hierarchy is mounted');
  return mountPoint;
}

/** A process in a group of its own, under the world's clock. */
function start(world: MountedClock, argv: readonly string[], connectsOutside = false): Member {
  lastMember += 1;
  const member = lastMember;
  const group = path.join(unifiedMount(), `clove-bench-clock-${process.pid}-${member}`);
  mkdirSync(group);
  groups.push(group);
  const { env } = world.attachment(member, { ownFiles: false, connectsOutside });
  const assignments = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const child = spawn(
    '/bin/sh',
    ['-c', 'echo $$ > "$0/cgroup.procs" && exec "$@"', group, '/usr/bin/env', ...assignments, ...argv],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  world.admit(member, group);
  let output = '';
  child.stdout.on('data', (part: Buffer) => {
    output += String(part);
  });
  const exited = new Promise<string>((resolve) => {
    child.on('close', () => {
      world.release(member);
      resolve(output);
    });
  });
  return { pid: child.pid ?? 0, exited };
}

async function inWorld<T>(input: ClockInput, body: (world: MountedClock) => Promise<T>): Promise<T> {
  const world = createMountedClock(clockSchema.parse(input));
  try {
    return await body(world);
  } finally {
    world.close();
    for (const group of groups.splice(0)) {
      for (const pid of readFileSync(path.join(group, 'cgroup.procs'), 'utf8').split('\n'))
        if (pid !== '') process.kill(Number(pid), 'SIGKILL');
      for (let i = 0; i < 100; i++) {
        try {
          rmdirSync(group);
          break;
        } catch {
          await sleep(10);
        }
      }
    }
  }
}

const python = (program: string, ...args: string[]): string[] => ['python3', '-c', program, ...args];
const line = (text: string): boolean => process.stdout.write(`${text}\n`);
const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

/** One read of the monotonic clock. */
async function read(): Promise<void> {
  const source = path.join(folder, 'read.cc');
  const program = path.join(folder, 'read');
  writeFileSync(
    source,
    `#include <stdio.h>
#include <time.h>
int main() {
  timespec t, from, to;
  double best = 1e9;
  for (int round = 0; round < 20; round++) {
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (int i = 0; i < 1000000; i++) clock_gettime(CLOCK_MONOTONIC, &t);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    const double ns = ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / 1e6;
    if (ns < best) best = ns;
  }
  printf("%.1f\\n", best);
}
`,
  );
  execFileSync(process.env.CXX ?? 'g++', ['-O2', '-o', program, source]);
  const bare = execFileSync(program, { encoding: 'utf8' });
  line(`clock read, bare vDSO                      ${bare.trim()} ns`);
  await inWorld('skip', async (world) => {
    line(`clock read, world clock (skip)             ${(await start(world, [program]).exited).trim()} ns`);
  });
  await inWorld({ mode: 'scale', scale: 10 }, async (world) => {
    line(`clock read, world clock (scale)            ${(await start(world, [program]).exited).trim()} ns`);
  });
  if (!existsSync(FAKETIME)) return;
  const fake = execFileSync(program, { encoding: 'utf8', env: { LD_PRELOAD: FAKETIME, FAKETIME: '+0 x10' } });
  line(`clock read, libfaketime                    ${fake.trim()} ns`);
}

const DAY_S = 24 * HOUR_S;
const SERVER = `
import socketserver, sys, time
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for call in self.rfile:
            time.sleep(0.02)
            self.wfile.write(call)
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64
server = Server(("127.0.0.1", 0), Handler)
open(sys.argv[1], "w").write(str(server.server_address[1]))
# Python's server looks around twice a second by default: 170,000 waits of a day that say nothing about agents.
server.serve_forever(poll_interval=3600)
`;
const AGENT = `
import os, socket, sys, time
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read(): time.sleep(0.1)
port, late, worst = int(open(sys.argv[1]).read()), 0, 0
start = time.monotonic()
for call in range(int(sys.argv[2])):
    time.sleep(max(0, start + 60 * call + 0.5 * int(sys.argv[3]) - time.monotonic()))
    begin = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as peer:
            peer.sendall(b"x" * 100 + b"\\n")
            peer.recv(200)
    except TimeoutError:
        late += 1
    worst = max(worst, time.monotonic() - begin)
print(late, worst, time.monotonic() - start)
`;

/** 24 hours, eight agents, a call a minute each. */
async function day(): Promise<void> {
  await inWorld('skip', async (world) => {
    const portFile = path.join(folder, 'port');
    const begun = performance.now();
    start(world, python(SERVER, portFile));
    const agents = Array.from({ length: 8 }, (_, i) =>
      start(world, python(AGENT, portFile, String(DAY_S / 60), String(i))),
    );
    const results = (await Promise.all(agents.map(({ exited }) => exited))).map((text) =>
      text.split(' ').map(Number),
    );
    const realMs = performance.now() - begun;
    const { jumps } = world.clock.status();
    const late = results.reduce((sum, [n = 0]) => sum + n, 0);
    const worst = Math.max(...results.map(([, s = 0]) => s));
    const drift = Math.max(...results.map(([, , s = 0], i) => s - (DAY_S - 60 + 0.5 * i)));
    line(
      `24 h, 8 agents, ${8 * (DAY_S / 60)} calls to a ninth   ${seconds(realMs)}; ${late} false time-outs; slowest call ${(worst * 1000).toFixed(0)} ms virtual; drift ${drift.toFixed(3)} s; ${jumps} jumps`,
    );
  });
}

/** 24 hours of a Node agent with a timer a minute, and of one with a timer an hour. */
async function node(): Promise<void> {
  for (const every of [60, HOUR_S]) {
    await inWorld('skip', async (world) => {
      const begun = performance.now();
      const program = `let n = 0; const t = performance.now(); const i = setInterval(() => { if (++n === ${DAY_S / every}) { clearInterval(i); console.log((performance.now() - t) / 1000); } }, ${every * 1000});`;
      const took = Number(await start(world, [process.execPath, '-e', program]).exited);
      line(
        `24 h of a Node agent, a timer every ${every} s   ${seconds(performance.now() - begun)}; error ${(took - DAY_S).toFixed(3)} s`,
      );
    });
  }
}

/** An idle hour: processes that look around once a minute, each at a moment of its own. */
async function idle(): Promise<void> {
  const source = path.join(folder, 'idle.cc');
  const program = path.join(folder, 'idle');
  writeFileSync(
    source,
    `#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int main(int, char** argv) {
  usleep(atoi(argv[1]) * 1000000ll / 48);
  for (int i = 0; i < 60; i++) sleep(60);
}
`,
  );
  execFileSync(process.env.CXX ?? 'g++', ['-O2', '-o', program, source]);
  for (const count of [8, 24, 48]) {
    await inWorld('skip', async (world) => {
      const lease = world.clock.lease('all are being started');
      const members = Array.from({ length: count }, (_, i) => start(world, [program, String(i * 60)]));
      await sleep(500);
      const begun = performance.now();
      lease[Symbol.dispose]();
      await Promise.all(members.map(({ exited }) => exited));
      const realMs = performance.now() - begun;
      const { jumps } = world.clock.status();
      line(
        `1 idle hour, ${String(count).padStart(2)} processes                 ${seconds(realMs)}; ${jumps} jumps, ${((realMs * 1000) / jumps).toFixed(0)} µs each with what they woke`,
      );
    });
  }
}

/** Calls to a server outside the world, fifty at a time. */
async function real(): Promise<void> {
  const calls = 1000;
  const server = createServer((peer) => {
    peer.on('error', () => {});
    peer.once('data', () => setTimeout(() => peer.end('pong'), 200));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as { port: number };
  await inWorld('skip', async (world) => {
    const begun = performance.now();
    const program = `
import concurrent.futures, socket
def call(_):
    try:
        with socket.create_connection(("127.0.0.1", ${port}), timeout=1) as peer:
            peer.sendall(b"ping")
            return peer.recv(9) != b"pong"
    except TimeoutError:
        return True
with concurrent.futures.ThreadPoolExecutor(20) as pool:
    print(sum(pool.map(call, range(${calls}))))
`;
    const other = start(world, python('import time\nwhile True: time.sleep(3600)'));
    const late = Number(await start(world, python(program), true).exited);
    process.kill(other.pid, 'SIGKILL');
    line(
      `${calls} calls to a real server of 200 ms, time-out 1 s   ${late} false time-outs; ${seconds(performance.now() - begun)}; ${world.clock.status().jumps} jumps`,
    );
  });
  server.close();
}

const SLEEPS = `
import asyncio, time
async def main():
    for _ in range(1440): await asyncio.sleep(60)
start = time.monotonic()
asyncio.run(main())
print(time.monotonic() - start - 86400)
`;

/** A day of 1,440 sleeps. */
async function faketime(): Promise<void> {
  await inWorld('skip', async (world) => {
    const begun = performance.now();
    const error = Number(await start(world, python(SLEEPS)).exited);
    line(
      `24 h of sleeps (asyncio), world clock       ${seconds(performance.now() - begun)}; error ${error.toFixed(3)} s`,
    );
  });
  if (!existsSync(FAKETIME)) {
    line('libfaketime is not installed (Debian: faketime)');
    return;
  }
  for (const rate of [1000, 10_000]) {
    const begun = performance.now();
    const error = Number(
      execFileSync('python3', ['-c', SLEEPS], {
        encoding: 'utf8',
        env: { PATH: process.env.PATH, LD_PRELOAD: FAKETIME, FAKETIME: `+0 x${rate}` },
      }),
    );
    line(
      `24 h of sleeps (asyncio), libfaketime x${rate}   ${seconds(performance.now() - begun)}; error ${error.toFixed(1)} s`,
    );
  }
}

const wanted = process.argv.slice(2);
const all = { read, day, node, idle, real, faketime };
line(
  `load ${loadavg()
    .map((n) => n.toFixed(1))
    .join(' ')}; ${path.basename(clockLibraryPath())}`,
);
try {
  for (const section of SECTIONS) if (wanted.length === 0 || wanted.includes(section)) await all[section]();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
