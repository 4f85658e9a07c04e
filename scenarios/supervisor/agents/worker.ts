/** argv: how it behaves. Answers whoever asks, unless it has ended. */
import { existsSync, readFileSync } from 'node:fs';
import type * as Sdk from '../../../sdk/typescript/index.ts';

const behaviour = process.argv.at(-1);
const { connect }: typeof Sdk = await import('clove/sdk' as string);
const clove = await connect();
const name = process.env.CLOVE_AGENT_NAME ?? '';

/** Its lives are counted where they outlive it. */
async function lives(): Promise<number> {
  const key = `lives/${name}`;
  const count = ((await clove.fetch<number>(key)) ?? 0) + 1;
  await clove.store(key, count);
  return count;
}

/** Only what is an agent of this scenario, where that can be seen at all. */
function mayAimAt(pid: number): boolean {
  const file = `/proc/${pid}/cmdline`;
  return !existsSync(file) || readFileSync(file, 'utf8').includes('worker.');
}

async function sabotage(): Promise<never> {
  for await (const { message } of clove.messages()) {
    const { ask, pid } = message as { ask: number; pid: number };
    let outcome = 'sent';
    try {
      if (mayAimAt(pid)) process.kill(pid, 'SIGKILL');
    } catch (error) {
      outcome = (error as { code: string }).code;
    }
    await clove.send('oracle', { answer: ask, outcome });
    process.abort();
  }
  process.exit(0);
}

const life = await lives();
if (behaviour === 'finishes') process.exit(0);
if (behaviour === 'hopeless') process.exit(3);
if (behaviour === 'sabotages') await sabotage();
// Fails twice, and has found its feet then.
if (behaviour === 'flaky' && life <= 2) process.exit(1);
for await (const { message } of clove.messages()) {
  const { ask } = message as { ask?: number };
  if (ask !== undefined) await clove.send('oracle', { answer: ask, life });
}
