/** Main module of the one process that runs trials one after the other, in its own thread: orders and reports over IPC. */
import { writeSync } from 'node:fs';
import { executeOrder, tailLog } from './execute.ts';
import type { FromHost, ToHost } from './host-messages.ts';

const send = (message: FromHost) => process.send?.(message);

process.on('disconnect', () => process.exit(0));
process.on('message', async (message: ToHost) => {
  if (message.kind !== 'run') return;
  const tail = tailLog();
  const report = await executeOrder(message.order, {
    wholeProcess: false,
    log: (line) => {
      tail.log(line);
      writeSync(2, `${line}\n`);
    },
    announceFault: () => writeSync(3, `${message.id}\n`),
  });
  send({ kind: 'report', id: message.id, report: { ...report, logTail: tail.text() } });
});
send({ kind: 'ready' });
