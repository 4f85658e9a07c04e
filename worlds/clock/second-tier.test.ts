// Programs into which no library can be put live in the world's time all the same: their system calls are answered.
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { clockStartPath } from '../../native/clock.ts';
import { casesOf, wrongOf } from './cases-testing.ts';
import { ClockFixture, unifiedMount } from './testing.ts';

const PROGRAMS = path.join(import.meta.dirname, 'conformance');
const CXX = process.env.CXX ?? 'g++';
const hasGroups = unifiedMount() !== null && process.geteuid?.() === 0;
const hasMusl = spawnSync('musl-gcc', ['--version']).status === 0;
const go = ['/usr/local/go/bin/go', '/usr/bin/go'].find((file) => existsSync(file));
const why = !hasGroups
  ? 'needs root and a version 2 control group hierarchy'
  : process.arch !== 'x64'
    ? 'clove-start is made for x86-64'
    : null;
let folder: string;

const compiled = (name: string): string => path.join(folder, name);
function compile(name: string, compiler: string, flags: readonly string[], source: string): void {
  execFileSync(compiler, [...flags, '-o', compiled(name), path.join(PROGRAMS, source)]);
}

/** As agents start programs: through one that the library is in. */
const started = (...argv: string[]): string[] => ['bash', '-c', 'exec "$0" "$@"', ...argv];

beforeAll(() => {
  if (why !== null) return;
  folder = mkdtempSync(path.join(tmpdir(), 'clove-second-tier-'));
  chmodSync(folder, 0o755);
  clockStartPath();
  compile('static', CXX, ['-x', 'c++', '-std=c++20', '-O1', '-pthread', '-static'], 'primitives.cc');
  compile('start', CXX, ['-static'], 'start.cc');
  compile('glibc', 'gcc', ['-O1', '-pthread', '-static'], 'sleeper.c');
  compile('forks', 'gcc', ['-O1', '-pthread', '-static'], 'forks.c');
  compile('preloads', 'gcc', ['-O1'], 'preloads.c');
  compile('preloads-static', 'gcc', ['-O1', '-static'], 'preloads.c');
  if (!hasMusl) return;
  compile('musl', 'musl-gcc', ['-O1', '-pthread', '-static'], 'sleeper.c');
  compile('musl-dynamic', 'musl-gcc', ['-O1', '-pthread'], 'sleeper.c');
}, 120_000);

afterAll(() => {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

/** Runs a program that tells its cases; how many there were, all exact and skipped. */
async function exact(argv: readonly string[], degradations: readonly string[] = []): Promise<number> {
  const fixture = new ClockFixture({ mode: 'skip' });
  try {
    const finished = await fixture.run(argv);
    const status = fixture.world.clock.status();
    const cases = casesOf(finished);
    const wrong = wrongOf(cases);
    expect(wrong, JSON.stringify(wrong) + finished.stderr).toEqual([]);
    expect(finished.code, finished.stderr).toBe(0);
    const waitedMs = cases.reduce((sum, { expectedS }) => sum + expectedS * 1000, 0);
    expect(status.skippedMs).toBeGreaterThan(waitedMs - finished.realMs);
    expect(status.degradations.map(({ name }) => name)).toEqual(degradations);
    return cases.length;
  } finally {
    await fixture.close();
  }
}

describe('programs that take no library, under a clock that skips', () => {
  const programs: [what: string, name: string, needsMusl: boolean][] = [
    ['a static program of glibc', 'glibc', false],
    ['a static program of musl', 'musl', true],
    ['a dynamic program of musl', 'musl-dynamic', true],
  ];
  it.for(programs)('%s waits exactly', { timeout: 60_000 }, async ([, name, needsMusl], context) => {
    if (why !== null) return context.skip(why);
    if (needsMusl && !hasMusl) return context.skip('needs musl-gcc (Debian: musl-tools)');
    expect(await exact(started(compiled(name)))).toBe(13);
  });

  it('a Go program waits exactly', { timeout: 120_000 }, async (context) => {
    if (why !== null) return context.skip(why);
    if (go === undefined) return context.skip('needs a Go compiler');
    const env = { ...process.env, CGO_ENABLED: '0', GOCACHE: path.join(tmpdir(), 'clove-go-cache') };
    execFileSync(go, ['build', '-o', compiled('go'), path.join(PROGRAMS, 'sleeper.go')], { env });
    expect(await exact(started(compiled('go')))).toBe(8);
  });

  const table: [kind: string, cases: number, argv: () => string[]][] = [
    ['static C', 47, () => started(compiled('static'))],
    ['CPython', 29, () => started(compiled('start'), 'python3', path.join(PROGRAMS, 'primitives.py'))],
    ['Node', 13, () => started(compiled('start'), process.execPath, path.join(PROGRAMS, 'primitives.mjs'))],
    [
      'Bash, coreutils and curl',
      11,
      () => started(compiled('start'), 'bash', path.join(PROGRAMS, 'primitives.sh')),
    ],
  ];
  it.for(table)(
    'the conformance table holds for %s, started by a static program',
    { timeout: 120_000 },
    async ([, least, argv], context) => {
      if (why !== null) return context.skip(why);
      expect(await exact(argv())).toBeGreaterThanOrEqual(least);
    },
  );
});

describe('a program of the second tier', () => {
  let fixture: ClockFixture | null = null;
  beforeEach((context) => {
    if (why !== null) context.skip(why);
  });
  afterEach(async () => {
    await fixture?.close();
    fixture = null;
  });

  /** Until the program is there, and the clock knows it for what it is. */
  async function listed({ world }: ClockFixture): Promise<void> {
    const known = (): void => expect(world.clock.status().programs).toMatchObject([{ tier: 2 }]);
    await vi.waitFor(known, { timeout: 20_000, interval: 20 });
  }

  it('is listed as such beside one that the library is in', async () => {
    fixture = new ClockFixture({ mode: 'step' });
    const sleeper = fixture.start(started(compiled('glibc'), '60'));
    const bash = fixture.start(['bash', '-c', 'read line < <(sleep 60)']);
    const { clock } = fixture.world;
    await vi.waitFor(
      () => {
        const tiers = new Map(clock.status().programs.map(({ name, tier }) => [name, tier]));
        expect(tiers).toEqual(
          new Map([
            ['glibc', 2],
            ['bash', 1],
            ['sleep', 1],
          ]),
        );
      },
      { timeout: 20_000, interval: 20 },
    );
    await clock.advance(60_000);
    expect([(await sleeper.finished).code, (await bash.finished).signal]).toEqual([0, null]);
  });

  it('stands still in a world that is stepped, and is woken in time', async () => {
    fixture = new ClockFixture({ mode: 'step' });
    const { clock } = fixture.world;
    const sleeper = fixture.start(started(compiled('glibc'), '60'));
    await listed(fixture);
    await clock.advance(59_000);
    expect(sleeper.child.exitCode).toBeNull();
    await clock.advance(3_600_000);
    expect((await sleeper.finished).code).toBe(0);
  });

  it('goes on at real speed when there is no coordinator any more', { timeout: 60_000 }, async () => {
    fixture = new ClockFixture({ mode: 'step' });
    const sleeper = fixture.start(started(compiled('glibc'), '2'));
    const { clock } = fixture.world;
    await listed(fixture);
    expect(sleeper.child.exitCode).toBeNull();
    // As after its death: agents are told to take real time, or find that out by its silence.
    clock.close();
    expect((await sleeper.finished).code).toBe(0);
  });

  it('runs at a constant factor in a world that is scaled', { timeout: 60_000 }, async () => {
    fixture = new ClockFixture({ mode: 'scale', scale: 20 });
    const finished = await fixture.run(started(compiled('glibc'), '20', 'tell'));
    expect(finished.code, finished.stderr).toBe(0);
    const cases = casesOf(finished);
    expect(cases).toHaveLength(1);
    for (const { elapsedS, realS } of cases) {
      expect(elapsedS).toBeGreaterThanOrEqual(20);
      // Real time is read outside of the virtual, to a hundredth: a loaded machine may make it longer, never shorter.
      expect(elapsedS / (realS + 0.02)).toBeLessThanOrEqual(20);
      expect(elapsedS / realS).toBeGreaterThan(5);
    }
  });

  it('finds its timers free in a fork, whatever its threads were at', { timeout: 120_000 }, async () => {
    fixture = new ClockFixture({ mode: 'skip' });
    const { code, stderr } = await fixture.run(started(compiled('forks')));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it.for(['preloads', 'preloads-static'])(
    'is started with an environment that names LD_PRELOAD more than once (%s)',
    { timeout: 60_000 },
    async (program) => {
      fixture = new ClockFixture({ mode: 'skip' });
      const { code, signal, stderr } = await fixture.run(
        started(compiled(program), compiled('glibc'), '600'),
      );
      expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' });
      expect(fixture.world.clock.status().skippedMs).toBeGreaterThan(590_000);
    },
  );
});
