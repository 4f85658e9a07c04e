// What neither the library nor clove-start covers: each is named, and holds the world at real speed while it lives.
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectTook, measured, python } from './measure-testing.ts';
import { ClockFixture, unifiedMount } from './testing.ts';

const hasGroups = unifiedMount() !== null && process.geteuid?.() === 0;
let fixture: ClockFixture | null = null;
const folders: string[] = [];

beforeEach((context) => {
  if (!hasGroups) context.skip('needs root and a version 2 control group hierarchy');
});

afterEach(async () => {
  await fixture?.close();
  fixture = null;
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** Compiles a program; its path. */
function compile(compiler: string, flags: readonly string[], source: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'clove-clock-probe-'));
  folders.push(folder);
  chmodSync(folder, 0o755);
  const file = path.join(folder, 'probe.c');
  writeFileSync(file, source);
  execFileSync(compiler, [...flags, '-o', path.join(folder, 'probe'), file]);
  return path.join(folder, 'probe');
}

const SLEEPER = `
#include <stdio.h>
#include <unistd.h>
int main() { puts("up"); fflush(stdout); sleep(600); return 0; }`;

describe('what the clock cannot cover', () => {
  /** Runs `argv` beside an agent that sleeps a second; what the clock says of it. */
  async function beside(argv: readonly string[], options: { preload?: boolean }): Promise<string[]> {
    const world = new ClockFixture('skip');
    fixture = world;
    const uncovered = world.start(argv, options);
    await uncovered.wrote('up');
    const { stdout } = await world.run(python('measure(lambda: time.sleep(0.5))'));
    // Real speed, never a wrong time.
    const [{ virtualS, realS } = { virtualS: 0, realS: 0 }] = measured(stdout);
    expect(realS).toBeGreaterThanOrEqual(0.48);
    expect(virtualS).toBeLessThanOrEqual(realS + 0.07);
    const names = world.world.clock
      .status()
      .degradations.filter(({ active }) => active)
      .map(({ name }) => name);
    uncovered.child.kill('SIGKILL');
    await uncovered.finished;
    const after = await world.run(python('measure(lambda: time.sleep(3600))'));
    expectTook(measured(after.stdout)[0] ?? { virtualS: 0, realS: 0 }, 3600);
    return names;
  }

  it('names a statically linked program, and holds the world at real speed while it lives', async () => {
    const probe = compile(process.env.CXX ?? 'g++', ['-x', 'c++', '-static'], SLEEPER);
    expect(await beside([probe], {})).toEqual(['static-binary']);
  });

  it('names a program with another C library', async (context) => {
    if (spawnSync('musl-gcc', ['--version']).status !== 0)
      return context.skip('needs musl-gcc (Debian: musl-tools)');
    // Started by a program that is without the library, too: nobody looked at it first.
    expect(await beside([compile('musl-gcc', [], SLEEPER)], { preload: false })).toEqual(['other-libc']);
  });

  it('names a Go program', async (context) => {
    const gofmt = ['/usr/local/go/bin/gofmt', '/usr/lib/go/bin/gofmt'].find((file) => existsSync(file));
    if (gofmt === undefined) return context.skip('needs a Go program: gofmt of an installed Go');
    // It waits for its input, whose other end is its own. Nobody on the way has the library, and looks at what is started.
    const program = `f=$(mktemp -u); mkfifo $f; exec 3<>$f; rm $f; echo up; exec ${gofmt} <&3`;
    expect(await beside(['bash', '-c', program], { preload: false })).toEqual(['go-binary']);
  });

  it('names a program that its file gives privileges, which keep every library out', async () => {
    const probe = compile(process.env.CXX ?? 'g++', ['-x', 'c++'], SLEEPER);
    chmodSync(probe, 0o4755);
    const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    expect(await beside([...nobody, probe], {})).toEqual(['not-registered']);
  });

  it('names a program that runs without the library', async () => {
    expect(await beside(['bash', '-c', 'echo up; sleep 600'], { preload: false })).toEqual([
      'not-registered',
    ]);
  });

  it('names waits that go past the C library', async (context) => {
    if (process.arch !== 'x64') return context.skip('the probe has the system call instruction of x86-64');
    const source = `
#include <stdio.h>
#include <time.h>
#include <sys/syscall.h>
int main() {
  puts("up"); fflush(stdout);
  struct timespec t = {600, 0};
  long r;
  __asm__ volatile("syscall" : "=a"(r) : "a"(SYS_nanosleep), "D"(&t), "S"(0) : "rcx", "r11", "memory");
}`;
    expect(await beside([compile(process.env.CXX ?? 'g++', ['-x', 'c++'], source)], {})).toEqual([
      'direct-wait',
    ]);
  });
});
