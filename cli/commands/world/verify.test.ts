import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureNative } from '../../../native/index.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const folder = mkdtempSync(path.join(os.tmpdir(), 'world-verify-test-'));
const file = path.join(folder, 'world.yaml');

beforeAll(async () => {
  await ensureNative();
  writeFileSync(
    file,
    `seed: 5
files: { initial: { /app/config.txt: "one\\n" } }
network: { routes: [{ host: api.test, path: /hello, body: "{{uuid}}\\n" }] }
schedule: [{ at: +10m, store: { key: k, value: 1 } }]
`,
  );
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function verify(flags: readonly string[], script: string, input = ''): Promise<Ran> {
  const args = ['world', 'run', '--verify', ...flags, file, '--', 'sh', '-c', script];
  return new Promise((done) => {
    execFile(
      process.execPath,
      [
        path.join(root, 'cli/main.ts'),
        ...(flags.includes('--json') ? ['--json'] : []),
        ...args.filter((arg) => arg !== '--json'),
      ],
      { env: { ...process.env, CLOVE_PROGRESS: 'plain' }, timeout: 240_000 },
      (error, stdout, stderr) =>
        done({
          code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1,
          stdout,
          stderr,
        }),
    ).stdin?.end(input);
  });
}

const steady = 'curl -sS http://api.test/hello; sleep 1200; cat; echo two >> /app/config.txt; exit 4';

describe.each(['mounted', 'virtual'])('clove world run --verify, %s', (form) => {
  const asks = (title: string, test: () => Promise<void>) =>
    it.runIf(form === 'virtual' || process.geteuid?.() === 0)(title, test, 300_000);

  asks('runs twice, shows the output once, and passes its status on', async () => {
    const script = form === 'mounted' ? steady : steady.replace('cat; ', '');
    const { code, stdout, stderr } = await verify(['--form', form], script, 'told\n');
    expect(stderr).toContain('verify: two runs, no difference:');
    expect(code).toBe(4);
    expect(stdout).toMatch(form === 'mounted' ? /^[0-9a-f-]{36}\ntold\n$/ : /^[0-9a-f-]{36}\n$/);
  });

  asks('names the first difference with both sides, and ends with 3', async () => {
    // What no seed repeats: in the world's own shell, whose luck is the world's, the nanosecond at which it got there.
    const chance = form === 'mounted' ? '$(od -An -N8 -tx8 /dev/urandom | tr -d " ")' : '$(date +%s%N)';
    const { code, stderr } = await verify(
      ['--form', form],
      `curl -s "http://api.test/hello?${chance}"; echo ${chance} > /app/x`,
    );
    expect(code).toBe(3);
    expect(stderr).toContain('the two runs differ, first in event 1 of http of run');
    expect(stderr).toMatch(/first run: {2}.*"url":"http:\/\/api\.test\/hello\?\w+"/);
    expect(stderr).toMatch(/second run: .*"url":"http:\/\/api\.test\/hello\?\w+"/);
    expect(stderr).toContain('also: files from /app/x on');
  });

  asks('answers as JSON', async () => {
    const { code, stdout } = await verify(['--json', '--form', form], 'echo out');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      exit_code: 0,
      stdout: 'out\n',
      verify: { identical: true, differences: [], exact: false, compared: { files: 2 } },
    });
  });
});

describe('clove world run --form virtual', () => {
  it('refuses what only a process can have', async () => {
    const { code, stderr } = await verify(['--form', 'virtual', '--memory', '64M'], 'true');
    expect(code).toBe(2);
    expect(stderr).toContain('--memory is for processes');
  });
});
