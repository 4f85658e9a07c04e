import { afterEach, describe, expect, it } from 'vitest';
import { parseEvent } from '../chaos/kinds.ts';
import type { WorldInput } from '../definition.ts';
import { ALICE, type TestWorld, testWorld } from '../testing.ts';
import { formatDate, runDate } from './date.ts';

const open: TestWorld[] = [];
afterEach(() => {
  for (const { world } of open.splice(0)) world.close();
});

async function shell(input: WorldInput = {}) {
  const made = await testWorld({
    clock: { mode: 'skip', start: '2026-05-04T03:02:01Z' },
    files: { initial: { '/work/a.txt': 'one\ntwo\n', '/etc/fixed': 'f' }, readonly: ['/etc/**'] },
    network: { routes: [{ host: 'api.test', path: '/x', json: { x: 1 } }] },
    ...input,
  });
  open.push(made);
  const run = (script: string, more: { merged?: boolean; timeoutMs?: number; cwd?: string } = {}) =>
    made.world.exec(ALICE, {
      script,
      cwd: more.cwd ?? null,
      timeoutMs: more.timeoutMs ?? 30_000,
      merged: more.merged ?? true,
      signal: new AbortController().signal,
    });
  return { ...made, run };
}

describe('a command in a world', () => {
  it('works on the world’s files, and only on them', async () => {
    const { run, world } = await shell();
    expect(
      await run('grep -c . a.txt; echo three >> a.txt; wc -l < a.txt; ls / | tr "\\n" " "'),
    ).toMatchObject({
      stdout: expect.stringMatching(/^2\n\s*3\netc work/),
      exitCode: 0,
    });
    expect(await run('cat /etc/passwd; exit 7')).toMatchObject({
      exitCode: 7,
      stdout: expect.stringContaining('No such file'),
    });
    expect((await run('rm -rf /etc; echo x > /etc/fixed')).exitCode).toBe(1);
    expect(String(await world.read(ALICE, '/etc/fixed'))).toBe('f');
    expect((await run('ln -s /etc/fixed /work/link && echo x > /work/link')).exitCode).toBe(1);
    expect(await run('mkdir -p d/e && mv a.txt d/e/b && cat d/e/b && rm -r d && test ! -e d')).toMatchObject({
      exitCode: 0,
    });
    await expect(run('true', { cwd: '/nowhere' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('keeps its two streams apart, or in one', async () => {
    const { run } = await shell();
    const script = 'echo a; echo b >&2; echo c';
    expect(await run(script, { merged: false })).toMatchObject({ stdout: 'a\nc\n', stderr: 'b\n' });
    expect(await run(script)).toMatchObject({ stdout: 'a\nb\nc\n', stderr: '' });
  });

  it('draws from the world’s luck wherever in a script it draws, and the host goes on with its own', async () => {
    const script = 'echo $RANDOM $((RANDOM % 100)); eval \'echo $RANDOM\'; awk "BEGIN { print rand() }"';
    const lines = async (seed: number) => {
      const { run } = await shell({ seed });
      const [first, second] = [await run(script), await run(script)];
      const hosts = [Math.random(), Math.random()];
      return { told: [first.stdout, second.stdout], hosts };
    };
    const one = await lines(5);
    const again = await lines(5);
    expect(one.told[0]).toMatch(/^\d+ \d+\n\d+\n0?\.\d+\n$/);
    expect(one.told[1]).not.toBe(one.told[0]);
    expect(again.told).toEqual(one.told);
    expect(again.hosts).not.toEqual(one.hosts);
    expect((await lines(6)).told).not.toEqual(one.told);
  });

  it('is told the world’s time and sleeps in it', async () => {
    const { run, world } = await shell();
    const { stdout, durationMs } = await run('date -u +%FT%H:%M; sleep 7200; date +%FT%H:%M', {
      timeoutMs: 1e7,
    });
    expect(stdout).toBe('2026-05-04T03:02\n2026-05-04T05:02\n');
    expect(durationMs).toBeGreaterThanOrEqual(7_200_000);
    expect(await run('sleep 100', { timeoutMs: 50_000 })).toMatchObject({ timedOut: true, exitCode: -1 });
    world.chaos.inject(parseEvent('clock_skew', { ms: 86_400_000 }), { forMs: null, source: 'test' });
    expect((await run('date +%d')).stdout).toBe('05\n');
  });

  it('shows and gives files the world’s time', async () => {
    const { run } = await shell();
    const at = 'date -d @$(find PLACE -maxdepth 0 -printf %T@) +%FT%H:%M';
    const times = (...places: string[]) => run(places.map((place) => at.replace('PLACE', place)).join('; '));
    expect(await run("find / -maxdepth 0 -printf '%TY-%Tm-%Td\\n'")).toMatchObject({
      stdout: '2026-05-04\n',
    });
    await run(
      'sleep 3600; touch new; touch -c absent; touch -d 2020-02-03T04:05:06Z old; touch -r old like',
      {
        timeoutMs: 1e7,
      },
    );
    expect((await times('/', '/work', '/work/new', '/work/old', '/work/like')).stdout.split('\n')).toEqual([
      '2026-05-04T03:02',
      '2026-05-04T04:02',
      '2026-05-04T04:02',
      '2020-02-03T04:05',
      '2020-02-03T04:05',
      '',
    ]);
    const stamped = await run(
      'touch -amt 202101020304.05 t && date -d @$(find t -printf %T@) +%FT%T; ls absent',
    );
    expect(stamped.stdout).toContain('2021-01-02T03:04:05\n');
    expect(stamped.exitCode).not.toBe(0);
    for (const wrong of ['touch', 'touch -d never x', 'touch -t 12 x', 'touch -r absent x', 'touch --odd x'])
      expect(await run(wrong), wrong).toMatchObject({
        exitCode: 1,
        stdout: expect.stringMatching(/^touch: /),
      });
    expect(await run('touch x /etc/new; ls x')).toMatchObject({
      stdout: "touch: cannot touch '/etc/new': Permission denied\nx\n",
    });
    expect((await run('touch -- -c; ls')).stdout).toContain('-c\n');
  });

  it('asks the world’s network, and no other', async () => {
    const { run } = await shell();
    expect((await run('curl -s http://api.test/x')).stdout).toContain('"x":1');
    expect((await run('curl -sS http://127.0.0.1:1/ || echo failed')).stdout).toContain('failed');
  });

  it('meets what is wrong with the disk', async () => {
    const { run, world } = await shell();
    world.chaos.inject(parseEvent('disk_full', {}), { forMs: null, source: 'test' });
    expect(await run('echo x > new')).toMatchObject({
      exitCode: 1,
      stdout: expect.stringContaining('No space left'),
    });
  });

  it.each([
    'while true; do :; done',
    'f() { f; }; f',
    'x=$(printf "a%.0s" {1..9999}); while :; do x="$x$x"; done',
    'echo {1..99999999}',
  ])('ends by itself: %s', async (script) => {
    const { run } = await shell();
    const { exitCode, stdout } = await run(script);
    // Refused, or cut short.
    expect(exitCode !== 0 || stdout.length < 1000).toBe(true);
  });

  it('has output of at most one MiB', async () => {
    const { run } = await shell({ files: { initial: { '/big': 'x'.repeat(2 ** 20 + 10) } } });
    expect(await run('cat /big')).toMatchObject({ truncated: true });
  });
});

it('date speaks the usual formats', () => {
  const at = Date.UTC(2026, 0, 9, 8, 7, 6, 5);
  expect(formatDate('%Y-%m-%d %H:%M:%S %j %a %b %e %p %I %s %N %% %q', at)).toBe(
    `2026-01-09 08:07:06 009 Fri Jan  9 AM 08 ${Math.floor(at / 1000)} 005000000 % %q`,
  );
  expect(formatDate('%-d/%-m', at)).toBe('9/1');
  const out = (...args: string[]) => runDate(args, at).stdout.trim();
  expect(out('-d', '@0', '+%F')).toBe('1970-01-01');
  expect(out('-d', '2 hours ago', '+%T')).toBe('06:07:06');
  expect(out('--date=2026-03-01', '+%A')).toBe('Sunday');
  expect(out('-Is')).toBe('2026-01-09T08:07:06+00:00');
  expect(runDate(['-s', 'now'], at).exitCode).toBe(1);
  expect(runDate(['-d', 'nonsense'], at)).toMatchObject({
    exitCode: 1,
    stderr: "date: invalid date 'nonsense'\n",
  });
});
