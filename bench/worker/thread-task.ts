/** Body of a piscina thread: one order in, one report out. */
import { writeSync } from 'node:fs';
import { executeOrder, tailLog } from './execute.ts';
import type { AttemptOrder, AttemptReport } from './order.ts';

export default async function runOrder(task: { id: number; order: AttemptOrder }): Promise<AttemptReport> {
  const tail = tailLog();
  const report = await executeOrder(task.order, {
    wholeProcess: false,
    log: (line) => {
      tail.log(line);
      // Straight to the descriptor: a thread's own stderr waits for the main thread, and is lost when the process dies.
      writeSync(2, `${line}\n`);
    },
    announceFault: () => writeSync(3, `${task.id}\n`),
  });
  return { ...report, logTail: tail.text() };
}
