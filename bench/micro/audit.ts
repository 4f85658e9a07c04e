/**
 * What recording costs: so many allowed calls a second, with their category off and on in turn, and the processor time of the
 * whole process (client, kernel, store) for each. Usage: node bench/micro/audit.ts [callsPerSecond=10000] [seconds=3] [rounds=4]
 */
import { OPCODES } from '../../kernel/protocol/opcodes.ts';
import { encodeFrame } from '../../kernel/wire/codec.ts';
import { RawClient } from '../../kernel/wire/testing.ts';
import { withMeasuredKernel } from './kernel.ts';

const [rate = 10_000, seconds = 3, rounds = 4] = process.argv.slice(2).map(Number);
const TICK_MS = 10;

await withMeasuredKernel(async ({ socketPath }) => {
  const control = await RawClient.connect(socketPath);
  const client = await RawClient.connect(socketPath);
  const fetch = encodeFrame({
    opcode: OPCODES.FETCH,
    payload: '{"key":"some/key/of/usual/length","scope":"global"}',
  });
  const cost = { off: [] as number[], on: [] as number[] };
  for (let round = 0; round < 2 * rounds; round += 1) {
    const isOn = round % 2 === 1;
    await control.call({ opcode: OPCODES.SET_AUDIT_CONFIG, payload: JSON.stringify({ log_state: isOn }) });
    await load(client, fetch, 0.5);
    const before = process.cpuUsage();
    const begun = performance.now();
    const calls = await load(client, fetch, seconds);
    const { user, system } = process.cpuUsage(before);
    const took = performance.now() - begun;
    const percent = (user + system) / took / 10;
    cost[isOn ? 'on' : 'off'].push(percent);
    console.log(
      `${isOn ? 'on ' : 'off'} ${((calls / took) * 1000).toFixed(0)} calls/s, ${percent.toFixed(1)} % of a core`,
    );
  }
  const median = (list: number[]) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)] as number;
  console.log(`recording costs ${(median(cost.on) - median(cost.off)).toFixed(1)} points of a core`);
});

async function load(client: RawClient, frame: Uint8Array, forSeconds: number): Promise<number> {
  const perTick = Math.round((rate * TICK_MS) / 1000);
  const burst = Buffer.concat(Array.from({ length: perTick }, () => frame));
  const ticks = Math.round((forSeconds * 1000) / TICK_MS);
  const begun = performance.now();
  for (let tick = 0; tick < ticks; tick += 1) {
    client.write(burst);
    for (let at = 0; at < perTick; at += 1) await client.next();
    const pause = begun + (tick + 1) * TICK_MS - performance.now();
    if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return ticks * perTick;
}
