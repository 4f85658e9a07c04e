/**
 * What recording costs: so many allowed calls a second, with their category off and on in turn, and the processor time of the
 * whole process (client, kernel, store, collector, compiler) for each, by thread. A round is off, on, on, off, so that what drifts
 * falls on both; the cost is the median of the rounds' differences, in points of one core.
 * Usage: node bench/micro/audit.ts [callsPerSecond=10000] [seconds=3] [rounds=4]
 */
import { readdirSync, readFileSync } from 'node:fs';
import { OPCODES } from '../../kernel/protocol/opcodes.ts';
import { encodeFrame } from '../../kernel/wire/codec.ts';
import { RawClient } from '../../kernel/wire/testing.ts';
import { withMeasuredKernel } from './kernel.ts';

const [rate = 10_000, seconds = 3, rounds = 4] = process.argv.slice(2).map(Number);
const TICK_MS = 10;
/** No text of a key is seen again soon: nothing that is remembered of it helps. */
const KEYS = 10_000;

const frames = Array.from({ length: KEYS }, (_, at) =>
  encodeFrame({
    opcode: OPCODES.FETCH,
    payload: JSON.stringify({ key: `some/key/of/usual/${at}`, scope: 'global' }),
  }),
);
let nextFrame = 0;

await withMeasuredKernel(async ({ socketPath }) => {
  const control = await RawClient.connect(socketPath);
  const client = await RawClient.connect(socketPath);
  const measure = async (isOn: boolean) => {
    await control.call({ opcode: OPCODES.SET_AUDIT_CONFIG, payload: JSON.stringify({ log_state: isOn }) });
    await load(client, 0.5);
    const before = process.cpuUsage();
    const threadsBefore = threadTimes();
    const begun = performance.now();
    const calls = await load(client, seconds);
    const tookMs = performance.now() - begun;
    const { user, system } = process.cpuUsage(before);
    const percent = (user + system) / tookMs / 10;
    const threads = [...threadTimes()]
      .map(([name, us]) => [name, (us - (threadsBefore.get(name) ?? 0)) / calls] as const)
      .filter(([, us]) => us >= 0.1)
      .map(([name, us]) => `${name} ${us.toFixed(1)}`);
    console.log(
      `${isOn ? 'on ' : 'off'} ${((calls / tookMs) * 1000).toFixed(0)} calls/s, ${percent.toFixed(1)} % of a core; µs a call: ${threads.join(', ')}`,
    );
    return percent;
  };
  // What is compiled meanwhile, and threads that start, are no cost of a record.
  await measure(true);
  await measure(false);
  await measure(true);
  const costs: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const [first, second, third, fourth] = [
      await measure(false),
      await measure(true),
      await measure(true),
      await measure(false),
    ];
    costs.push((second + third - first - fourth) / 2);
    console.log(`round ${round + 1}: ${costs.at(-1)?.toFixed(1)} points`);
  }
  const sorted = costs.toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] as number;
  console.log(`recording costs ${median.toFixed(1)} points of a core, ${sorted[0]?.toFixed(1)} at the least`);
});

async function load(client: RawClient, forSeconds: number): Promise<number> {
  const perTick = Math.round((rate * TICK_MS) / 1000);
  const ticks = Math.round((forSeconds * 1000) / TICK_MS);
  const begun = performance.now();
  for (let tick = 0; tick < ticks; tick += 1) {
    const burst: Uint8Array[] = [];
    for (let at = 0; at < perTick; at += 1) {
      burst.push(frames[nextFrame] as Uint8Array);
      nextFrame = (nextFrame + 1) % KEYS;
    }
    client.write(Buffer.concat(burst));
    for (let at = 0; at < perTick; at += 1) await client.next();
    const pause = begun + (tick + 1) * TICK_MS - performance.now();
    if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return ticks * perTick;
}

/** Processor time by the name of the thread. µs. */
function threadTimes(): Map<string, number> {
  const times = new Map<string, number>();
  for (const thread of readdirSync('/proc/self/task')) {
    try {
      const name = readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trim();
      const us = Number(readFileSync(`/proc/self/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1000;
      times.set(name, (times.get(name) ?? 0) + us);
    } catch {
      // It has ended.
    }
  }
  return times;
}
