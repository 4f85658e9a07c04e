/** An attempt as an agent under the kernel: one order on standard input, the report as a message to whoever spawned it. */
import { readFileSync, writeSync } from 'node:fs';
import { connect } from '../../sdk/typescript/index.ts';
import { executeOrder } from './execute.ts';
import type { AttemptOrder } from './order.ts';

/** A function, so that importing this module (to fill a compile cache) does not wait for an order. */
export async function main(): Promise<never> {
  const order: AttemptOrder = JSON.parse(readFileSync(0, 'utf8'));
  const report = await executeOrder(order, {
    wholeProcess: true,
    log: (line) => {
      writeSync(2, `${line}\n`);
    },
  });
  const kernel = await connect();
  await kernel.send('parent', report);
  process.exit(report.end === 'completed' ? 0 : 1);
}
