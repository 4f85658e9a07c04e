import { execFile, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packageRoot } from './package.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-build-test-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A compiler that only writes down what it was to make, slowly, and makes something. */
function fakeCompiler(): string {
  const file = path.join(folder, 'c++');
  writeFileSync(
    file,
    `#!/bin/sh\n[ "$1" = --version ] && exit 0\nfor last; do :; done\necho "$last" >> ${folder}/calls\nsleep 0.02\necho built > "$last"\n`,
  );
  chmodSync(file, 0o755);
  return file;
}

function build(env: Record<string, string>): Promise<{ stdout: string; stderr: string }> {
  const script = `import { ensureNative } from ${JSON.stringify(path.join(import.meta.dirname, 'build.ts'))};
    try { console.log(JSON.stringify(ensureNative({ output: ${JSON.stringify(path.join(folder, 'out'))} }))); }
    catch (error) { console.log(JSON.stringify({ code: error.code, message: error.message, hint: error.hint })); }`;
  return promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env });
}

describe('the native build', () => {
  it('does not wait for a builder that has died', async () => {
    const env = { CXX: fakeCompiler(), PATH: '/usr/bin:/bin' };
    const { addon, init } = JSON.parse((await build(env)).stdout) as { addon: string; init: string };
    const gone = spawnSync('/bin/true');
    rmSync(init);
    writeFileSync(`${init}.lock`, String(gone.pid));
    await build(env);
    expect(readdirSync(path.join(folder, 'out')).sort()).toEqual(
      [addon, init].map((file) => path.basename(file)).sort(),
    );
  });

  it('says that it was interrupted, and not that the compiler failed', async () => {
    const compiler = path.join(folder, 'c++');
    // As a Ctrl-C does, for all that are in the foreground: the program that compiles dies of it.
    writeFileSync(compiler, '#!/bin/sh\n[ "$1" = --version ] && exit 0\nkill -INT $PPID\nsleep 1\n');
    chmodSync(compiler, 0o755);
    const { stdout } = await build({ CXX: compiler, PATH: '/usr/bin:/bin' });
    expect(JSON.parse(stdout)).toMatchObject({ code: 'CANCELLED' });
    expect(readdirSync(path.join(folder, 'out'))).toEqual([]);
  });

  it('finds the package from the source folder', () => {
    expect(JSON.parse(readFileSync(path.join(packageRoot(), 'package.json'), 'utf8'))).toMatchObject({
      name: 'clove',
    });
  });

  it('compiles each file once, however many processes ask, and leaves no temporary file', async () => {
    const env = { CXX: fakeCompiler(), PATH: '/usr/bin:/bin' };
    const answers = await Promise.all([1, 2, 3].map(() => build(env)));
    const files = answers.map(({ stdout }) => JSON.parse(stdout) as { addon: string; init: string });
    expect(new Set(files.map(({ addon }) => addon)).size).toBe(1);
    expect(existsSync(files[0]?.addon ?? '')).toBe(true);
    const calls = () => readFileSync(path.join(folder, 'calls'), 'utf8').trimEnd().split('\n');
    const made = calls();
    const objects = made.filter((file) => file.endsWith('.cc.o')).map((file) => path.basename(file));
    expect(made.length - objects.length).toBe(2);
    // The first half of a name is its place in its target.
    expect(new Set(objects).size).toBe(objects.length);
    expect(objects.length).toBeGreaterThan(20);
    expect(readdirSync(path.join(folder, 'out'))).toHaveLength(2);
    await build(env);
    expect(calls()).toEqual(made);
  });

  it('says what to install when there is no compiler', async () => {
    const { stdout } = await build({ PATH: '/nowhere' });
    expect(JSON.parse(stdout)).toMatchObject({ code: 'SETUP_FAILED', hint: expect.stringContaining('g++') });
  });

  it('shows the first error of a compiler that fails', async () => {
    const file = path.join(folder, 'bad');
    writeFileSync(
      file,
      '#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "x.cc:1:1: error: no such thing" >&2\nexit 1\n',
    );
    chmodSync(file, 0o755);
    const { stdout } = await build({ CXX: file, PATH: '/usr/bin:/bin' });
    expect(JSON.parse(stdout)).toMatchObject({
      code: 'SETUP_FAILED',
      message: expect.stringContaining('no such thing'),
    });
    expect(readdirSync(path.join(folder, 'out'))).toEqual([]);
  });
});
