import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { changesBeside } from './changes.ts';

let folder: string;
let aborter: AbortController;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-changes-'));
  aborter = new AbortController();
});
afterEach(() => {
  aborter.abort();
  rmSync(folder, { recursive: true });
});

const file = (name: string) => path.join(folder, name);

it('tells of what was written beside a file, several steps as one, and ends when told to', async () => {
  const changes = changesBeside(file('agent.py'), aborter.signal);
  const first = changes.next();
  await sleep(20);
  writeFileSync(file('part.py'), 'a');
  writeFileSync(file('agent.py.tmp'), 'b');
  renameSync(file('agent.py.tmp'), file('agent.py'));
  expect(await first).toEqual({ done: false, value: undefined });
  const second = changes.next();
  const soon = await Promise.race([second, sleep(400, 'nothing')]);
  expect(soon).toBe('nothing');
  // While nobody asks it is not lost.
  writeFileSync(file('agent.py'), 'c');
  expect(await second).toEqual({ done: false, value: undefined });
  aborter.abort();
  expect(await changes.next()).toMatchObject({ done: true });
});

it('does not hear editors, interpreters and logs', async () => {
  const changes = changesBeside(file('agent.py'), aborter.signal);
  const next = changes.next();
  await sleep(20);
  mkdirSync(file('__pycache__'));
  for (const name of ['.agent.py', '.agent.py.swp', 'agent.py~', '4913', 'x.pyc', 'log'])
    writeFileSync(file(name), '');
  expect(await Promise.race([next, sleep(500, 'nothing')])).toBe('nothing');
  aborter.abort();
  expect(await next).toMatchObject({ done: true });
});
