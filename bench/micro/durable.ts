/**
 * Durable writes: so many clients that each store one value after another, and wait for each to be on disk.
 * Usage: node bench/micro/durable.ts [clients=32] [seconds=5] [runs=3]
 */
import { createHistogram } from 'node:perf_hooks';
import { OPCODES } from '../../kernel/protocol/opcodes.ts';
import { RawClient } from '../../kernel/wire/testing.ts';
import { withMeasuredKernel } from './kernel.ts';

const [clients = 32, seconds = 5, runs = 3] = process.argv.slice(2).map(Number);

await withMeasuredKernel(async ({ socketPath }) => {
  for (let run = 0; run < runs; run += 1) {
    const histogram = createHistogram();
    const until = performance.now() + seconds * 1000;
    const begun = performance.now();
    await Promise.all(
      Array.from({ length: clients }, async (_, lane) => {
        const client = await RawClient.connect(socketPath);
        for (let value = 0; performance.now() < until; value += 1) {
          const at = performance.now();
          const { payload } = await client.call({
            opcode: OPCODES.STORE,
            payload: `{"key":"lane/${lane}/${value % 100}","value":${value}}`,
          });
          histogram.record(Math.max(1, Math.round((performance.now() - at) * 1000)));
          if (!Buffer.from(payload).includes('"success":true'))
            throw new Error(Buffer.from(payload).toString());
        }
        await client.close();
      }),
    );
    const took = (performance.now() - begun) / 1000;
    const ms = (quantile: number) => (histogram.percentile(quantile) / 1000).toFixed(2);
    console.log(
      `${(histogram.count / took).toFixed(0)} writes/s, p50 ${ms(50)} ms, p99 ${ms(99)} ms, p99.9 ${ms(99.9)} ms, most ${(histogram.max / 1000).toFixed(2)} ms`,
    );
  }
});
