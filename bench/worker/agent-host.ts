/** An attempt as an agent under the kernel: one order on standard input, the report as a message to whoever spawned it. */
import { readFileSync, writeSync } from 'node:fs';
import { MAX_ANSWER_BYTES } from '../../kernel/protocol/constants.ts';
import { OPCODES } from '../../kernel/protocol/opcodes.ts';
import { Connection, cancelled } from '../../sdk/typescript/connection.ts';
import { executeOrder } from './execute.ts';
import type { AttemptOrder, AttemptReport } from './order.ts';

/** A function, so that importing this module (to fill a compile cache) does not wait for an order. */
export async function main(): Promise<never> {
  const order: AttemptOrder = JSON.parse(readFileSync(0, 'utf8'));
  const attempt = await executeOrder(order, {
    wholeProcess: true,
    log: (line) => {
      writeSync(2, `${line}\n`);
    },
  });
  await report(process.env.CLOVE_SOCKET ?? '/run/clove.sock', attempt);
  process.exit(attempt.end === 'completed' ? 0 : 1);
}

/** One SEND over the SDK's bare connection: its client, with names and reconnecting, would be loaded for every trial. */
export async function report(socketPath: string, message: AttemptReport): Promise<{ close(): void }> {
  const kernel = await Connection.open({ socketPath, maxAnswerBytes: MAX_ANSWER_BYTES });
  const payload = JSON.stringify({ to_name: 'parent', message });
  const answer = await kernel.call(OPCODES.SEND, payload, { timeoutMs: 30_000 });
  const text = new TextDecoder().decode(answer.payload);
  if (JSON.parse(text).success !== true) throw new Error(`the report was not delivered: ${text}`);
  return { close: () => kernel.close(cancelled()) };
}
