import { parentPort, workerData } from 'node:worker_threads';
import { openStateDatabase } from './database.ts';
import type { JournalAnswer, JournalRequest } from './journal.ts';

if (parentPort === null) throw new Error('journal-worker runs in a worker thread only');
const port = parentPort;
const database = openStateDatabase((workerData as { readonly databasePath: string }).databasePath);
const put = database.prepare(
  'INSERT INTO entries (key, value, expires_ms) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_ms = excluded.expires_ms',
);
const remove = database.prepare('DELETE FROM entries WHERE key = ?');

port.on('message', (request: JournalRequest) => {
  if (request.kind === 'close') {
    database.close();
    port.close();
    return;
  }
  const answer: JournalAnswer = { error: commit(request) };
  port.postMessage(answer);
});

function commit(request: Extract<JournalRequest, { kind: 'commit' }>): string | null {
  try {
    database.exec('BEGIN IMMEDIATE');
    for (const { key, text, expiresWallMs } of request.entries) {
      if (text === null) remove.run(key);
      else put.run(key, text, expiresWallMs);
    }
    database.exec('COMMIT');
    return null;
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    return error instanceof Error ? error.message : String(error);
  }
}
