/** Main module of a plain child process: one order on standard input, one report on descriptor 3. */
import { readFileSync, writeSync } from 'node:fs';
import { executeOrder } from './execute.ts';
import type { AttemptOrder } from './order.ts';

const order: AttemptOrder = JSON.parse(readFileSync(0, 'utf8'));
const report = await executeOrder(order, {
  wholeProcess: true,
  log: (line) => {
    writeSync(2, `${line}\n`);
  },
});
const bytes = Buffer.from(JSON.stringify(report));
for (let offset = 0; offset < bytes.length; ) offset += writeSync(3, bytes, offset);
process.exit(report.end === 'completed' ? 0 : 1);
