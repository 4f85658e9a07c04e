// Programs that are not of glibc, as the first program of an agent, as a script's interpreter and started by others.
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestClient, TestKernel } from '../../kernel/fixture.ts';
import { ensureNative } from '../../native/index.ts';
import { worldHost } from '../engine.ts';
import { unifiedMount } from './control-group.ts';

const hasGroups = unifiedMount() !== null && process.geteuid?.() === 0;
const hasMusl = spawnSync('musl-gcc', ['--version']).status === 0;
/** Where the programs are inside. */
const INSIDE = '/opt/probe';
let kernel: TestKernel;
let client: TestClient;
let folder: string;
let world: string;

const SPEAKER = `
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char** arguments) {
  sleep(3600);
  for (int i = 1; i < count; i++) printf("%s ", arguments[i]);
  puts(getenv("LD_PRELOAD") == NULL ? "without" : "with");
}`;

beforeAll(async () => {
  if (!hasGroups || !hasMusl) return;
  folder = mkdtempSync(path.join(tmpdir(), 'clove-clock-musl-'));
  chmodSync(folder, 0o755);
  writeFileSync(path.join(folder, 'speaker.c'), SPEAKER);
  execFileSync('musl-gcc', ['-o', path.join(folder, 'speaker'), path.join(folder, 'speaker.c')]);
  writeFileSync(path.join(folder, 'script'), `#! ${INSIDE}/speaker one two\n`, { mode: 0o755 });
  await ensureNative();
  kernel = await TestKernel.boot({}, { worlds: worldHost() });
  client = await kernel.connect();
  const created = await client.call('WORLD_CREATE', {
    name: 'm',
    config: { form: 'mounted', open: true, clock: 'skip' },
  });
  world = created.world_id as string;
}, 300_000);
afterAll(async () => {
  await kernel?.close();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

describe('a dynamic program of another C library', () => {
  const starts: [how: string, command: string[], stdout: string][] = [
    ['as the first program', [`${INSIDE}/speaker`, 'a'], 'a without\n'],
    ['as the interpreter of a script', [`${INSIDE}/script`, 'a'], `one two ${INSIDE}/script a without\n`],
    [
      'by a shell',
      ['sh', '-c', `${INSIDE}/speaker b; exec ${INSIDE}/script`],
      `b without\none two ${INSIDE}/script without\n`,
    ],
    [
      'by Python, by name',
      [
        'python3',
        '-c',
        `import os, subprocess; subprocess.run(["speaker", "c"], env={"PATH": "${INSIDE}"}, check=True)`,
      ],
      'c without\n',
    ],
  ];
  it.for(starts)('starts %s', async ([, command, stdout], context) => {
    if (!hasGroups) return context.skip('needs root and a version 2 control group hierarchy');
    if (!hasMusl) return context.skip('needs musl-gcc (Debian: musl-tools)');
    const mounts = [{ source: folder, target: INSIDE }];
    // Under the sandbox's own filter, too, an hour is over at once.
    const answer = await client.run({ world, name: 'probe', command, mounts });
    expect(answer, JSON.stringify(answer)).toMatchObject({ stdout });
  });
});
