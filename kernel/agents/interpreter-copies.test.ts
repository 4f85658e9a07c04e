import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestKernel } from '../fixture.ts';
import { InterpreterCopies } from './interpreter-copies.ts';

let folder: string;
let copies: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-interpreter-'));
  copies = path.join(folder, 'copies');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function program(name: string, mode: number, content = '#!/bin/sh\n'): string {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content);
  chmodSync(file, mode);
  return file;
}

const mountOf = (source: string) => ({ source, target: '/opt/it', readonly: true });
const sourceOf = async (source: string) =>
  (await new InterpreterCopies(copies).open([mountOf(source)]))[0]?.source ?? '';

describe('an interpreter', () => {
  it('that every user can run stays where it is', async () => {
    const file = program('node', 0o755);
    expect(await new InterpreterCopies(copies).open([mountOf(file)])).toEqual([mountOf(file)]);
    expect(readdirSync(folder)).toEqual(['node']);
  });

  it('that only its owner can run is copied once, for this kernel and the next', async () => {
    const file = program('node', 0o700, 'first');
    const copy = await sourceOf(file);
    expect(path.dirname(copy)).toBe(copies);
    expect(statSync(copy).mode & 0o777).toBe(0o705);
    expect(statSync(copies).mode & 0o777).toBe(0o700);
    const { ino } = statSync(copy);
    expect(await sourceOf(file)).toBe(copy);
    expect(statSync(copy).ino).toBe(ino);
    writeFileSync(file, 'second one');
    const next = await sourceOf(file);
    expect(readFileSync(next, 'utf8')).toBe('second one');
    expect(readdirSync(copies)).toEqual([path.basename(next)]);
  });

  it('comes with its closed installation', async () => {
    program('venv/bin/python3', 0o700);
    program('venv/lib/module.py', 0o600, 'x = 1\n');
    const venv = path.join(folder, 'venv');
    for (const name of ['venv', 'venv/bin', 'venv/lib']) chmodSync(path.join(folder, name), 0o700);
    const copy = await sourceOf(venv);
    expect(copy).not.toBe(venv);
    expect(statSync(path.join(copy, 'lib', 'module.py')).mode & 0o004).toBe(0o004);
    expect(statSync(path.join(venv, 'lib', 'module.py')).mode & 0o077).toBe(0);
  });

  it('of a closed virtual environment runs the scripts of agents', async () => {
    chmodSync(folder, 0o755);
    const venv = path.join(folder, 'venv');
    mkdirSync(path.join(venv, 'bin'), { recursive: true });
    mkdirSync(path.join(venv, 'lib'));
    symlinkSync('/usr/bin/python3', path.join(venv, 'bin', 'python3'));
    writeFileSync(path.join(venv, 'pyvenv.cfg'), 'home = /usr/bin\n', { mode: 0o600 });
    writeFileSync(path.join(venv, 'lib', 'data'), 'of the environment', { mode: 0o600 });
    chmodSync(venv, 0o700);
    const script = program('agent.py', 0o644, "import sys\nprint(open(sys.prefix + '/lib/data').read())\n");
    const kernel = await TestKernel.boot();
    try {
      const client = await kernel.connect();
      const { stdout } = await client.run({ script, python: path.join(venv, 'bin', 'python3') });
      expect(stdout).toBe('of the environment\n');
    } finally {
      await kernel.close();
    }
  });

  it('that cannot be copied is said to be so', async () => {
    const file = program('node', 0o700);
    writeFileSync(copies, 'in the way');
    await expect(sourceOf(file)).rejects.toMatchObject({ code: 'SETUP_FAILED' });
  });
});
