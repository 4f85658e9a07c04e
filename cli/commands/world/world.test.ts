import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { ensureNative } from '../../../native/index.ts';

const CLOVE = path.join(import.meta.dirname, '..', '..', '..', 'bin', 'clove');
const folder = mkdtempSync(path.join(tmpdir(), 'clove-world-cli-'));
const needsRoot = (context: TestContext) => {
  if (process.geteuid?.() !== 0) context.skip('a kernel of the tests runs as root');
};

const clove = (args: string[], input?: string) =>
  spawnSync(CLOVE, args, {
    cwd: folder,
    encoding: 'utf8',
    timeout: 120_000,
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      CLOVE_SOCKET: path.join(folder, 'clove.sock'),
      CLOVE_DATA_DIR: path.join(folder, 'data'),
    },
    ...(input === undefined ? {} : { input }),
  });
/** The answer of a command that has to work. */
const done = (args: string[], input?: string): string => {
  const { status, stdout, stderr } = clove(args, input);
  expect({ args, status, stderr: status === 0 ? '' : stderr }).toEqual({ args, status: 0, stderr: '' });
  return stdout;
};

beforeAll(() => ensureNative(), 600_000);
afterAll(() => {
  clove(['kernel', 'stop']);
  rmSync(folder, { recursive: true, force: true });
});

describe('clove world', () => {
  it('writes, checks and describes definitions without a kernel', () => {
    expect(done(['world', 'list', '--catalog'])).toContain('soc-lab');
    expect(done(['world', 'new', 'mine', '--from', 'e-commerce'])).toContain('mine.yaml');
    expect(readFileSync(path.join(folder, 'mine.yaml'), 'utf8')).toContain('extends: e-commerce');
    expect(clove(['world', 'new', 'mine']).status).not.toBe(0);
    expect(done(['world', 'validate', 'mine.yaml'])).toContain('good');
    writeFileSync(path.join(folder, 'bad.yaml'), 'schedule:\n  - at: soon\n    event: disk_full\n');
    const bad = clove(['world', 'validate', 'bad.yaml']);
    expect(bad.status).toBe(1);
    expect(bad.stdout).toContain('bad.yaml:2:9: schedule.0.at: expected');
    expect(done(['world', 'event', 'x', 'list'])).toContain('disk_full');
  });

  it('says precisely what is missing where no kernel runs and none is to be started', () => {
    const { status, stderr } = clove(['world', 'create', 'soc-lab', '--no-start']);
    expect(status).not.toBe(0);
    expect(stderr).toContain('clove kernel start');
  });

  it('goes through the life of a world', (context) => {
    needsRoot(context);
    // On a machine where nothing runs yet.
    const created = JSON.parse(
      done(['world', 'create', 'lab', '--from', 'soc-shift', '--seed', '7', '--json']),
    );
    const id = created.world_id as string;
    expect(id).toMatch(/^lab-\d{4}$/);
    expect(done(['world', 'create', 'mine.yaml'])).toContain('world mine-');
    expect(done(['world', 'list'])).toContain(id);
    expect(clove(['world', 'create', 'nowhere']).stderr).toContain(
      'neither a file nor a world of the catalogue',
    );

    // A name that only one has will do for its id.
    expect(done(['world', 'show', 'lab'])).toContain(id);
    expect(done(['world', 'exec', 'lab', '--', 'echo here'])).toBe('here\n');
    const nowhere = clove(['world', 'exec', 'lba', '--', 'true']);
    expect(nowhere.status).not.toBe(0);
    expect(nowhere.stderr).toContain('there is no world lba');
    const [twin] = JSON.parse(done(['world', 'branch', 'lab', '-n', '1', '--json'])) as string[];
    const either = clove(['world', 'show', 'lab']);
    expect(either.status).not.toBe(0);
    expect(either.stderr).toContain('2 worlds are named lab');
    expect(either.stderr).toContain(twin);
    // All that are named are looked up before the first of them ends, and what has the form of an id is no name.
    const alike = JSON.parse(done(['world', 'create', 'lab-0999', '--from', 'blank', '--json'])).world_id;
    for (const args of [['show'], ['destroy', twin as string]]) {
      const absent = clove(['world', ...args, 'lab-0999']);
      expect(absent.status).not.toBe(0);
      expect(absent.stderr).toContain('there is no world lab-0999');
    }
    const both = clove(['world', 'destroy', twin as string, 'lab']);
    expect(both.stderr).toContain('2 worlds are named lab');
    expect(JSON.parse(done(['world', 'destroy', 'mine', alike, alike, '--json']))).toEqual([
      expect.stringMatching(/^mine-\d{4}$/),
      alike,
    ]);
    done(['world', 'destroy', twin as string]);

    const ran = clove([
      'world',
      'exec',
      id,
      '--',
      'echo note > /work/n; cat /etc/soc/playbook.md | head -1; echo e >&2; exit 3',
    ]);
    expect(ran).toMatchObject({ status: 3, stderr: 'e\n', stdout: expect.stringContaining('BRUTE_FORCE') });
    expect(done(['world', 'exec', id, 'printf', '%s|', 'a b', '$HOME'])).toBe('a b|$HOME|');
    expect(done(['world', 'shell', id], 'cd /work\npwd\ncat n\n')).toBe('/work\nnote\n');
    expect(done(['world', 'shell', id], 'false\necho $?\necho $?\n')).toBe('1\n0\n');

    expect(done(['world', 'event', id, 'disk_full', 'path=/work/**', '--for', '10m'])).toContain('event-1');
    expect(clove(['world', 'exec', id, 'echo x > /work/m']).status).toBe(1);
    expect(done(['world', 'show', id])).toContain('disk_full (event-1');
    done(['world', 'advance', id, '1h']);
    done(['world', 'exec', id, 'echo x > /work/m']);
    expect(JSON.parse(done(['world', 'state', id, '--json'])).clock.monotonicMs).toBeGreaterThanOrEqual(
      3_600_000,
    );

    const diff = done(['world', 'diff', id]);
    expect(diff).toContain('A /work/n');
    expect(diff).toContain('+note');
    expect(diff).toContain('M /var/log/');

    done(['world', 'snapshot', id, 'lab.world']);
    expect(existsSync(path.join(folder, 'lab.world'))).toBe(true);
    done(['world', 'restore', 'lab.world', '--id', 'again']);
    expect(done(['world', 'exec', 'again', 'cat /work/n'])).toBe('note\n');
    const branches = JSON.parse(done(['world', 'branch', id, '-n', '3', '--json']));
    expect(branches).toHaveLength(3);
    expect(done(['world', 'destroy', id, 'again', ...branches])).toContain('5 worlds');
    expect(clove(['world', 'show', id]).stderr).toContain(`there is no world ${id}`);
  });

  it('puts a running agent into a world', (context) => {
    needsRoot(context);
    const { world_id } = JSON.parse(done(['world', 'create', 'blank', '--json']));
    writeFileSync(path.join(folder, 'wait.sh'), 'sleep 1000\n');
    done(['agent', 'run', 'wait.sh', '--name', 'sleeper']);
    expect(done(['world', 'join', world_id, 'sleeper'])).toContain('sleeper is in');
    expect(done(['world', 'show', world_id])).toContain('members   sleeper');
    expect(clove(['world', 'destroy', world_id]).status).not.toBe(0);
    done(['world', 'destroy', world_id, '--force']);
    done(['agent', 'kill', 'sleeper']);
  });
});
