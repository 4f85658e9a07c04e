// The main job of somebody who is not root: in sandboxes that lack what only root can give, and the report says which.
import { execFile } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureNative } from '../native/index.ts';
import type { RunResults } from './types.ts';

const UID = 61_234;
const root = join(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'clove-unprivileged-'));

beforeAll(() => {
  // The native part as it is built already: compiling it again for another user takes long.
  const { addon, init } = ensureNative();
  const places = [
    folder,
    ...['.cache', 'clove', 'native'].map((_, at, names) => join(folder, ...names.slice(0, at + 1))),
  ];
  mkdirSync(places.at(-1) as string, { recursive: true });
  for (const file of [addon, init]) copyFileSync(file, join(places.at(-1) as string, basename(file)));
  for (const place of places) chownSync(place, UID, UID);
  chmodSync(folder, 0o755);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function clove(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const argv = ['--disable-warning=ExperimentalWarning', join(root, 'cli/main.ts'), ...args];
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    XDG_RUNTIME_DIR: folder,
    CLOVE_RUNS: join(folder, 'runs'),
  };
  try {
    const done = await promisify(execFile)(process.execPath, argv, { uid: UID, gid: UID, cwd: folder, env });
    return { code: 0, ...done };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

/** Root, to become somebody else, and a clone that somebody else may read: a folder that only root enters hides it. */
async function reasonToSkip(): Promise<string | null> {
  if (process.geteuid?.() !== 0) return 'becomes another user, which needs root';
  return (await clove('version')).code === 0 ? null : 'other users cannot read this clone';
}

describe('a user who is not root', () => {
  it('has the walls, and is told what limits are missing', async (context) => {
    const reason = await reasonToSkip();
    if (reason !== null) context.skip(reason);
    const full = await clove('run', '--', 'id', '-u');
    expect(full).toMatchObject({ code: 125, stdout: '' });
    expect(full.stderr).toContain('--require reduced');
    const reduced = await clove(
      'run',
      '--require',
      'reduced',
      '--',
      'sh',
      '-c',
      'id -u; test -e /etc/shadow || echo none',
    );
    expect(reduced).toMatchObject({ code: 0 });
    expect(reduced.stdout.split('\n').slice(0, 1)).toEqual([String(UID)]);
    expect(reduced.stdout).toContain('none');
    expect(reduced.stderr).toContain('ran without these limits: mem');
    for (const strength of ['reduced', 'least']) {
      const named = await clove('run', '--require', strength, '--memory', '64M', '--', 'echo', 'unlimited');
      expect(named).toMatchObject({ code: 125, stdout: '' });
      expect(named.stderr).toContain('no --memory');
    }
  }, 120_000);

  it('is told when a kernel starts what it will refuse, and how to go on', async (context) => {
    const reason = await reasonToSkip();
    if (reason !== null) context.skip(reason);
    const socket = ['--socket', join(folder, 'kernel.sock')];
    const start = async (...more: string[]) => {
      const started = await clove('kernel', 'start', ...socket, '--data-dir', join(folder, 'data'), ...more);
      await clove('kernel', 'stop', ...socket);
      return started;
    };
    const full = await start();
    expect(full, full.stderr).toMatchObject({ code: 0 });
    expect(full.stderr).toMatch(/^warning: this user cannot have .*\bmem\b.* --require reduced, or as root/m);
    const reduced = await start('--require', 'reduced');
    expect(reduced, reduced.stderr).toMatchObject({ code: 0, stderr: '' });
  }, 120_000);

  it('runs a grid, and the report names what its sandboxes lacked', async (context) => {
    const reason = await reasonToSkip();
    if (reason !== null) context.skip(reason);
    const refused = await clove('bench', 'run', 'overhead', '--size', '4', '--require', 'full', '--quiet');
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('--require reduced');
    const run = await clove('bench', 'run', 'overhead', '--size', '4', '--json');
    expect(run, run.stderr).toMatchObject({ code: 0 });
    const results = JSON.parse(run.stdout) as RunResults & { runDir: string };
    expect(results.trials.map(({ status }) => status)).toEqual(['passed', 'passed', 'passed', 'passed']);
    expect(run.stdout).toContain('Isolation is reduced');
    const html = readFileSync(join(results.runDir, 'report.html'), 'utf8');
    expect(html).toContain('Isolation is reduced');
  }, 180_000);
});
