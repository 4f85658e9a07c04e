import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const main = path.join(import.meta.dirname, '..', 'main.ts');
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-scenario-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const clove = (...args: string[]) => {
  const { stdout, stderr, status } = spawnSync(process.execPath, [main, ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: folder },
    timeout: 180_000,
  });
  return { stdout, stderr, status, json: () => JSON.parse(stdout) };
};

describe('clove scenario', () => {
  it('begins one that is valid as it is, in the project or for the user, and finds both', () => {
    expect(clove('scenario', 'new', 'mine').status).toBe(0);
    expect(clove('scenario', 'new', 'everywhere', '--user').status).toBe(0);
    expect(clove('scenario', 'new', 'mine').status).toBe(1);
    expect(clove('scenario', 'new', 'No Name').status).toBe(2);
    const { scenarios } = clove('scenario', 'list', '--json').json();
    const origins = Object.fromEntries(
      scenarios.map(({ name, origin }: { name: string; origin: string }) => [name, origin]),
    );
    expect(origins).toMatchObject({ mine: 'project', everywhere: 'user', 'drug-discovery': 'clove' });
    const validated = clove('scenario', 'validate', 'mine', 'everywhere', 'drug-discovery', '--json');
    expect(validated.json().scenarios).toMatchObject([
      { problems: [], trials: 1 },
      { problems: [], trials: 1 },
      { problems: [], trials: 48 },
    ]);
    expect(validated.status).toBe(0);
    expect(clove('scenario', 'show', 'scenarios/mine', '--json').json()).toMatchObject({
      kind: 'fleet',
      origin: 'file',
      roles: [{ role: 'worker', count: 2, restart: 'on-failure' }],
    });
  });

  it('tells what is wrong with one, and takes none in place of one that comes with Clove', () => {
    mkdirSync(path.join(folder, 'scenarios', 'broken'), { recursive: true });
    writeFileSync(
      path.join(folder, 'scenarios', 'broken', 'scenario.mjs'),
      'export default { kind: "fleet", name: "broken", title: "", roles: {} };',
    );
    mkdirSync(path.join(folder, 'scenarios', 'overhead'), { recursive: true });
    writeFileSync(path.join(folder, 'scenarios', 'overhead', 'scenario.mjs'), 'throw new Error("not me");');
    const broken = clove('scenario', 'validate', 'broken', '--json');
    expect(broken.status).toBe(1);
    expect(broken.json().scenarios[0].problems.join('\n')).toMatch(/oracle: must be a function/);
    expect(clove('scenario', 'show', 'overhead', '--json').json()).toMatchObject({ origin: 'clove' });
    expect(clove('scenario', 'show', 'nothing-like-it').status).toBe(2);
    expect(clove('scenario', 'list').stdout).toMatch(/broken .*cannot be loaded/);
  });
});
