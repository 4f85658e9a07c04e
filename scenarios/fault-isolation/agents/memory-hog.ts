/** Takes memory until it has all it wants (modest, as a machine without limits has to bear it), and tells so. */
import type * as Sdk from '../../../sdk/typescript/index.ts';

const WANTED_MIB = 192;
const STEP_MIB = 8;
const PAUSE_MS = 40;
const HOLD_MS = 60_000;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const { connect }: typeof Sdk = await import('clove/sdk' as string);
const clove = await connect();
const held: Buffer[] = [];
for (let mib = 0; mib < WANTED_MIB; mib += STEP_MIB) {
  held.push(Buffer.alloc(STEP_MIB * 2 ** 20, 1));
  await pause(PAUSE_MS);
}
await clove.send('oracle', { full: held.length * STEP_MIB });
await pause(HOLD_MS);
