import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

/** A process that is nothing but a kernel: the policy would be the test runner's otherwise. */
const SCRIPT = `
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
const { TestKernel } = await import('./kernel/fixture.ts');
const { serveUrgently } = await import('./native/urgent.ts');
const policyOf = (text) => Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[38]);
const ownPolicy = () => policyOf(readFileSync('/proc/self/stat', 'latin1'));
const stop = serveUrgently();
const isAllowed = ownPolicy() !== 0;
const kernel = await TestKernel.boot();
const client = await kernel.connect();
// Booting has kept the thread busy: then it is an ordinary one for a while.
while (isAllowed && ownPolicy() === 0) await sleep(1);
const agents = [];
for (let n = 0; n < 8; n += 1) {
  const { stdout } = await client.run({ command: ['/bin/sh', '-c', 'cat /proc/self/stat'] });
  agents.push(policyOf(stdout));
}
stop();
await client.close();
await kernel.close();
console.log(JSON.stringify({ isAllowed, agents }));
`;

it('agents of a kernel whose threads run before others have the ordinary policy', async (ctx) => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', SCRIPT],
    { cwd: path.join(import.meta.dirname, '..'), timeout: 100_000, killSignal: 'SIGKILL' },
  );
  const { isAllowed, agents } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  expect(agents).toEqual(new Array(8).fill(0));
  if (!isAllowed) ctx.skip('this process may not give itself a real-time policy');
});
