import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureNative } from '../../../native/index.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const folder = mkdtempSync(path.join(os.tmpdir(), 'world-run-test-'));
const file = path.join(folder, 'world.yaml');

beforeAll(async () => {
  await ensureNative();
  writeFileSync(
    file,
    `name: shop
seed: 5
clock: { mode: real }
files:
  initial:
    /app/config.txt: "one\\n"
    /app/gone.txt: "x\\n"
    /etc/shop.conf: "port=1\\n"
    /usr/share/never: "x"
    /app/fixed.txt: { content: "fixed\\n", mode: "0444" }
  readonly: ["/etc/**"]
network:
  routes:
    - { host: api.test, path: /hello, body: "hello {{agent}} {{uuid}}" }
services:
  db: { host: db.test, collections: { users: [{ id: 1, name: Ada }] } }
`,
  );
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function clove(...args: string[]): Promise<Ran> {
  return new Promise((done) => {
    execFile(
      process.execPath,
      [path.join(root, 'cli/main.ts'), ...args],
      { env: { ...process.env, CLOVE_PROGRESS: 'plain' }, timeout: 120_000 },
      (error, stdout, stderr) =>
        done({
          code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1,
          stdout,
          stderr,
        }),
    ).stdin?.end();
  });
}

const run = (flags: readonly string[], script: string) =>
  clove('world', 'run', ...flags, file, '--', 'sh', '-c', script);

describe.runIf(process.geteuid?.() === 0)('clove world run', () => {
  it('passes output and exit status through, and shows what became of the files', async () => {
    const har = path.join(folder, 'out.har');
    const log = path.join(folder, 'out.jsonl');
    const { code, stdout, stderr } = await run(
      ['--diff', '--har', har, '--log-to', log],
      `cat /app/config.txt /etc/shop.conf; echo two >> /app/config.txt; rm /app/gone.txt; echo new > /app/new.txt; mkdir /work/made
       echo x > /app/fixed.txt || echo fixed; rm -f /app/fixed.txt || echo kept; echo x > /etc/shop.conf || echo closed; echo x > /data/y
       curl -sS https://api.test/hello | cut -c1-9; curl -sS https://db.test/users; curl -s https://elsewhere.test/ || echo $?; exit 7`,
    );
    expect(code).toBe(7);
    expect(stdout.split('\n')).toEqual([
      'one',
      'port=1',
      'fixed',
      'kept',
      'closed',
      'hello run',
      '[{"id":1,"name":"Ada"}]6',
      '',
    ]);
    const changed = stderr.split('\n').filter((line) => /^(---|\+\+\+|[AMD] )/.test(line));
    expect(changed).toEqual([
      '--- a/app/config.txt',
      '+++ b/app/config.txt',
      '--- a/app/gone.txt',
      '+++ /dev/null',
      '--- /dev/null',
      '+++ b/app/new.txt',
      '--- /dev/null',
      '+++ b/data/y',
      'A /work/made',
    ]);
    expect(stderr).toContain('+two');
    expect(stderr).toContain('/usr/share/never is not shown to processes');
    const archive = JSON.parse(readFileSync(har, 'utf8')) as {
      log: { entries: { request: { url: string } }[] };
    };
    expect(archive.log.entries.map(({ request }) => request.url)).toEqual([
      'https://api.test/hello',
      'https://db.test/users',
    ]);
    const entries = readFileSync(log, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string; outcome: string });
    expect(
      entries.filter(({ kind, outcome }) => kind === 'dns' && outcome === 'refused').length,
    ).toBeGreaterThan(0);
  });

  it('has luck of its own, that of the seed', async () => {
    const uuid = async (...flags: string[]) =>
      (await run(flags, 'curl -sS http://api.test/hello')).stdout.slice(10);
    const first = await uuid();
    expect(first).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4/);
    expect(await uuid('--seed', '5')).toBe(first);
    expect(await uuid('--seed', '6')).not.toBe(first);
  });

  it('has time of its own: an hour of waiting is over at once, and time-outs hold', async () => {
    const patient = path.join(folder, 'patient.yaml');
    writeFileSync(
      patient,
      'network: { routes: [{ host: api.test, path: /slow, delay_ms: 3600000, body: "at last" }] }\n',
    );
    const { stdout } = await clove(
      'world',
      'run',
      patient,
      '--',
      'sh',
      '-c',
      'a=$(date +%s); curl -sS --max-time 7200 https://api.test/slow; b=$(date +%s); echo " $((b - a))"; curl -s --max-time 5 http://api.test/slow; echo $?',
    );
    const [, seconds, timedOut] = /^at last (\d+)\n(\d+)\n$/.exec(stdout) ?? [stdout];
    expect(Number(seconds)).toBeGreaterThanOrEqual(3600);
    expect(Number(seconds)).toBeLessThan(3660);
    expect(timedOut).toBe('28');
  });

  it('answers as JSON, with what isolates it', async () => {
    const committed = mkdtempSync(path.join(folder, 'committed-'));
    const { code, stdout } = await clove(
      '--json',
      'world',
      'run',
      '--commit',
      committed,
      file,
      '--',
      'sh',
      '-c',
      'echo out; echo err >&2; echo y > /app/config.txt; curl -s http://api.test/none',
    );
    expect(code).toBe(0);
    const answer = JSON.parse(stdout) as Record<string, unknown> & {
      isolation: { layer: string; state: string; how: string }[];
    };
    expect(answer).toMatchObject({
      exit_code: 0,
      stderr: 'err\n',
      world: { name: 'shop', seed: 5 },
      changes: [{ path: '/app/config.txt', change: 'changed' }],
    });
    expect(readFileSync(path.join(committed, 'app/config.txt'), 'utf8')).toBe('y\n');
    const layer = (name: string) => answer.isolation.find((one) => one.layer === name);
    expect(layer('netns')).toMatchObject({ state: 'on', how: expect.stringContaining('network of a world') });
    expect(layer('overlay')).toMatchObject({ state: 'on', how: expect.stringContaining('/app') });
  });

  it('says what is wrong, with the status for it, and leaves nothing', async () => {
    expect((await clove('world', 'run', 'no-such-world', '--', 'true')).stderr).toContain(
      'no world is called no-such-world',
    );
    expect((await clove('world', 'run', file, '--', '/no/such/program')).code).toBe(127);
    expect((await clove('world', 'run', '--timeout', '1s', file, '--', 'sleep', '60')).code).toBe(124);
    expect((await clove('world', 'run', '--seed', 'x', file, '--', 'true')).code).toBe(2);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain('upperdir');
  });
});
