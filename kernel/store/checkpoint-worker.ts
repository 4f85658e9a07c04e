import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';

/** Frames of the log that nobody has copied into the database yet; null = it could not be done. */
export interface CheckpointAnswer {
  readonly left: number | null;
}

if (parentPort === null) throw new Error('checkpoint-worker runs in a worker thread only');
const port = parentPort;
const { databasePath } = workerData as { readonly databasePath: string };
let database: DatabaseSync | null = null;

port.on('message', () => {
  let left: number | null = null;
  try {
    database ??= new DatabaseSync(databasePath, { timeout: 0 });
    // Neither writers nor readers wait for it, and it waits for neither.
    const row = database.prepare('PRAGMA wal_checkpoint(PASSIVE)').get();
    left = Number(row?.log) - Number(row?.checkpointed);
  } catch {
    // A full disk, say. The log keeps everything, and whoever writes to it will be told.
  }
  port.postMessage({ left } satisfies CheckpointAnswer);
});
