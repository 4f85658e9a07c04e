/**
 * The way of an attempt through its host, in the template that trials are forked from: read the order, run, send the report. What Node
 * loads and compiles on first use it has then; each trial would do it anew.
 */
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MAX_ANSWER_BYTES } from '../../kernel/protocol/constants.ts';
import { encodeFrame, FrameDecoder } from '../../kernel/wire/codec.ts';
import type { TrialFunction } from '../types.ts';
import { report } from './agent-host.ts';
import { executeOrder } from './execute.ts';
import type { AttemptOrder } from './order.ts';

const ROUNDS = 8;

/** The worker of the attempts that are rehearsed. Nearly every one looks at this clock, which Node loads when it is first looked at. */
export const run: TrialFunction = () => ({ metrics: {}, facts: { atMs: performance.now() } });

const ORDER: AttemptOrder = {
  worker: import.meta.url,
  trial: { id: 'rehearsal', key: 'rehearsal', params: {}, seed: 1, costEstimate: 1, input: {} },
  attempt: 1,
  fault: null,
  leakCapBytes: 0,
};

/** Leaves nothing behind: no file, no connection. */
export async function rehearse(): Promise<void> {
  const socketPath = join(tmpdir(), `rehearsal-${process.pid}.sock`);
  const orderPath = `${socketPath}.json`;
  const kernel = createServer((socket) => {
    const decoder = new FrameDecoder(MAX_ANSWER_BYTES);
    socket.on('data', (chunk: Buffer) => {
      for (const { opcode } of decoder.push(chunk))
        socket.write(encodeFrame({ opcode, payload: '{"success":true}' }));
    });
  });
  kernel.listen(socketPath);
  await once(kernel, 'listening');
  try {
    writeFileSync(orderPath, JSON.stringify(ORDER));
    for (let round = 0; round < ROUNDS; round += 1) {
      const file = openSync(orderPath, 'r');
      const order: AttemptOrder = JSON.parse(readFileSync(file, 'utf8'));
      closeSync(file);
      const attempt = await executeOrder(order, { wholeProcess: true, log: () => {} });
      if (attempt.end !== 'completed') throw new Error(`rehearsal: ${JSON.stringify(attempt.error)}`);
      (await report(socketPath, attempt)).close();
    }
  } finally {
    rmSync(orderPath, { force: true });
    kernel.close();
    await once(kernel, 'close');
  }
}
