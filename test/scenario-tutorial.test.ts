// docs/scenarios.md shows a scenario in twenty lines: it does what it says, from a project's own folder.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = path.join(import.meta.dirname, '..');
const page = readFileSync(path.join(root, 'docs/scenarios.md'), 'utf8');
const block = (language: string) => new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 's').exec(page)?.[1] ?? '';
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-tutorial-'));
  mkdirSync(path.join(folder, 'scenarios/echo/agents'), { recursive: true });
  writeFileSync(path.join(folder, 'scenarios/echo/scenario.mjs'), block('js'));
  writeFileSync(path.join(folder, 'scenarios/echo/agents/echo.py'), block('python'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const clove = (...args: string[]) => {
  const { stdout, stderr, status } = spawnSync(process.execPath, [path.join(root, 'cli/main.ts'), ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: folder },
    timeout: 240_000,
  });
  return { stdout, stderr, status };
};

describe('the tutorial on scenarios', () => {
  it('is about twenty lines, and valid where it lies', () => {
    expect(block('js').trim().split('\n').length).toBeLessThan(25);
    const { status, stdout } = clove('scenario', 'validate', 'echo');
    expect({ status, stdout }).toEqual({ status: 0, stdout: '✓ echo: 1 trial\n' });
  });

  it('runs: the agent is killed, comes back, and answers', (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    if (!existsSync('/usr/bin/python3')) context.skip('no python3 in the system folders');
    const { status, stdout, stderr } = clove('bench', 'run', 'echo', '--runs-dir', path.join(folder, 'runs'));
    expect(status, `${stdout}\n${stderr}`).toBe(0);
    expect(stdout).toMatch(/✓ The agent answers again\n\s+"hello"/);
  }, 300_000);
});
