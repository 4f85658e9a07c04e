import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type TestClient, TestKernel, until } from '../../kernel/fixture.ts';

const CLOVE = path.join(import.meta.dirname, '..', '..', 'bin', 'clove');

let kernel: TestKernel;
let client: TestClient;
beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
});
afterAll(() => kernel.close());

it('clove agent reload --watch brings in what is written, keeps the old code where the new fails, and ends when told to', async () => {
  const folder = path.join(kernel.folder, 'code');
  mkdirSync(folder, { mode: 0o755 });
  const script = path.join(folder, 'agent.sh');
  const write = (version: string, end = 'while :; do sleep 0.05; done') =>
    writeFileSync(script, `echo ${version}\n${end}\n`, { mode: 0o755 });
  write('first');
  const { id } = await client.spawn({ script, name: 'watched', restart_policy: 'always' });
  const said = async (text: string) =>
    until(async () => String((await client.call('LOGS', { id })).stdout).includes(text));
  await said('first');

  const { socketPath } = kernel.running;
  const watch = spawn(
    CLOVE,
    ['agent', 'reload', 'watched', script, '--watch', '--ready', '3s', '--socket', socketPath],
    { env: { PATH: process.env.PATH, HOME: kernel.folder, NO_COLOR: '1' } },
  );
  const ended = once(watch, 'exit');
  let told = '';
  for (const stream of [watch.stdout, watch.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      told += text;
    });
  const tells = (text: string | RegExp) => until(() => told.search(text) >= 0);

  await tells('runs its new code');
  write('second');
  await said('second');
  await tells(/new code[\s\S]*new code/);
  // On a machine that is slow enough it lives long enough to be taken for one that is up.
  do {
    told = '';
    write('third', 'exit 7');
    await tells(/runs its (new|old) code/);
  } while (told.includes('new code'));
  expect(told).toMatch(/agent \d+ \(watched\) runs its old code again: .*status 7/);
  told = '';
  write('fourth');
  await said('fourth');
  await tells('runs its new code');
  const [agent] = (await client.call('LIST')).filter((each: { id: number }) => each.id === id);
  expect(agent).toMatchObject({ name: 'watched', state: 'running' });

  watch.kill('SIGINT');
  expect(await ended).toEqual([0, null]);
  await client.call('KILL', { id, grace_ms: 0 });
}, 240_000);
