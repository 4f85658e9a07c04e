import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KERNEL_NODE_OPTIONS } from '../kernel/node-options.ts';

const root = path.dirname(import.meta.dirname);
const PINNED = '26.10.0';

/** What it says first, to the end of the line, or of all there is. */
async function firstLine(stream: Readable): Promise<string> {
  let read = '';
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    read += chunk;
    if (read.includes('\n')) break;
  }
  return read;
}

describe('the launcher', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'clove-launcher-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const version = (command: string, args: string[] = []) => {
    const result = spawnSync(command, [...args, 'version', '--json'], {
      encoding: 'utf8',
      cwd: folder,
      timeout: 180_000,
    });
    return {
      ...result,
      node: result.status === 0 ? (JSON.parse(result.stdout) as { node: string }).node : null,
    };
  };

  it('runs on the pinned Node from a shell', () => {
    expect(version(path.join(root, 'bin', 'clove')).node).toBe(PINNED);
  });

  it('runs through a symbolic link, from another folder', () => {
    const link = path.join(folder, 'clove link');
    symlinkSync(path.join(root, 'bin', 'clove'), link);
    expect(version(link).node).toBe(PINNED);
  });

  it('runs under whatever Node calls it', () => {
    const system = ['/usr/bin/node', '/usr/local/bin/node', process.execPath].find((node) =>
      existsSync(node),
    ) as string;
    expect(version(system, [path.join(root, 'bin', 'clove')]).node).toBe(PINNED);
  });

  it('passes arguments and exit status through both ways in', () => {
    for (const [command, args] of [
      [path.join(root, 'bin', 'clove'), []],
      [process.execPath, [path.join(root, 'bin', 'clove')]],
    ] as const) {
      const result = spawnSync(command, [...args, 'no-such command; $(id)'], { encoding: 'utf8' });
      expect(result.status).toBe(2);
      expect(result.stderr).toContain("unknown command 'no-such command; $(id)'");
    }
  });

  it('starts a kernel in the foreground as the daemon is started', async () => {
    const place = ['--socket', path.join(folder, 'k.sock'), '--data-dir', path.join(folder, 'data')];
    const more = ['--foreground', '--sandbox-pool', '0', '--log-level', 'error'];
    const kernel = spawn(path.join(root, 'bin', 'clove'), ['kernel', 'start', ...place, ...more], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = once(kernel, 'close');
    try {
      const stderr = text(kernel.stderr);
      const line = await firstLine(kernel.stdout);
      expect(line, line === '' ? await stderr : '').toContain('"ready":true');
      // The shell has become the kernel.
      const argv = readFileSync(`/proc/${kernel.pid}/cmdline`, 'utf8').split('\0');
      const entry = argv.findIndex((argument) => /main\.[jt]s$/.test(argument));
      expect(argv.slice(1, entry)).toEqual(expect.arrayContaining([...KERNEL_NODE_OPTIONS]));
    } finally {
      kernel.kill('SIGTERM');
      await ended;
    }
  }, 300_000);

  it('says what is missing when the pinned Node did not come along', () => {
    const elsewhere = path.join(folder, 'node_modules', 'clove', 'bin');
    mkdirSync(elsewhere, { recursive: true });
    const copied = spawnSync('cp', [path.join(root, 'bin', 'clove'), elsewhere]);
    expect(copied.status).toBe(0);
    const result = spawnSync(path.join(elsewhere, 'clove'), ['version'], { encoding: 'utf8' });
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/node-linux-\w+ is missing.*optional dependencies/);
  });

  it('sets up a fresh clone by itself, once', (context) => {
    const clone = path.join(folder, 'clone');
    const cloned = spawnSync('git', ['clone', '--quiet', '--no-hardlinks', root, clone], {
      encoding: 'utf8',
    });
    if (cloned.status !== 0) context.skip(`this folder cannot be cloned: ${cloned.stderr.trim()}`);
    const first = version(path.join(clone, 'bin', 'clove'));
    expect(first.stderr).toContain('first run in this folder: installing dependencies');
    expect(first.node).toBe(PINNED);
    // The run that installs must not lose what the command itself says afterwards.
    rmSync(path.join(clone, 'node_modules', '.package-lock.json'));
    const failing = spawnSync(path.join(clone, 'bin', 'clove'), ['no-such'], { encoding: 'utf8' });
    expect(failing.stderr).toMatch(/installing dependencies[\s\S]*unknown command 'no-such'/);
    const second = version(path.join(clone, 'bin', 'clove'));
    expect(second.stderr).toBe('');
    expect(second.node).toBe(PINNED);
  }, 300_000);

  it('says what to do when npm is not there', () => {
    const bare = path.join(folder, 'bare');
    mkdirSync(path.join(bare, 'bin'), { recursive: true });
    mkdirSync(path.join(bare, 'cli'));
    writeFileSync(path.join(bare, 'cli', 'main.ts'), '');
    spawnSync('cp', [path.join(root, 'bin', 'clove'), path.join(bare, 'bin')]);
    const tools = path.join(folder, 'tools');
    mkdirSync(tools);
    for (const tool of ['sh', 'readlink', 'dirname', 'uname'])
      symlinkSync(`/usr/bin/${tool}`, path.join(tools, tool));
    const result = spawnSync('/bin/sh', [path.join(bare, 'bin', 'clove')], {
      encoding: 'utf8',
      env: { PATH: tools },
    });
    expect(result.status).toBe(1);
    expect(result.stderr).toContain('npm is needed once');
  });
});
