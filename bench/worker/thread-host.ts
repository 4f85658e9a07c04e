/** Main module of the one process whose threads (piscina) run trials side by side: orders and reports over IPC. */
import { extname } from 'node:path';
import { Piscina } from 'piscina';
import { errorToData } from '../../errors/index.ts';
import type { FromHost, ToHost } from './host-messages.ts';
import type { AttemptReport } from './order.ts';

const threads = Number(process.argv[2]);
const pool = new Piscina<{ id: number; order: unknown }, AttemptReport>({
  filename: new URL(`./thread-task${extname(import.meta.filename)}`, import.meta.url).href,
  minThreads: threads,
  maxThreads: threads,
  concurrentTasksPerWorker: 1,
});
const running = new Map<number, AbortController>();
const send = (message: FromHost) => process.send?.(message);

async function run(id: number, order: unknown): Promise<void> {
  const controller = new AbortController();
  running.set(id, controller);
  try {
    send({ kind: 'report', id, report: await pool.run({ id, order }, { signal: controller.signal }) });
  } catch (error) {
    send({
      kind: 'lost',
      id,
      aborted: controller.signal.aborted,
      error: { ...errorToData(error), code: 'TRIAL_FAILED' },
    });
  } finally {
    running.delete(id);
  }
}

process.on('disconnect', () => process.exit(0));
process.on('message', (message: ToHost) => {
  if (message.kind === 'run') void run(message.id, message.order);
  else running.get(message.id)?.abort();
});
send({ kind: 'ready' });
