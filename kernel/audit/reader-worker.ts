import { parentPort, workerData } from 'node:worker_threads';
import { CloveError, errorToData } from '../../errors/index.ts';
import { openDatabaseToRead } from '../store/database.ts';
import { type AnchorPlace, readAnchor } from './anchor.ts';
import { queryLog } from './query.ts';
import type { ReaderAnswer, ReaderRequest } from './reader.ts';
import { verifyLog } from './verify.ts';

if (parentPort === null) throw new Error('reader-worker runs in a worker thread only');
const port = parentPort;
const { databasePath, anchorPlace } = workerData as {
  readonly databasePath: string;
  readonly anchorPlace: AnchorPlace;
};

port.on('message', (request: ReaderRequest) => port.postMessage(answer(request)));

function answer(request: ReaderRequest): ReaderAnswer {
  try {
    // Before the database: the log may only have grown since.
    const anchor = request.kind === 'verify' ? readAnchor(anchorPlace) : null;
    const database = openDatabaseToRead(databasePath);
    try {
      const result =
        request.kind === 'query' ? queryLog(database, request.query) : verifyLog(database, anchor);
      return { id: request.id, result };
    } finally {
      database.close();
    }
  } catch (error) {
    const known = errorToData(error);
    const data =
      known.code === 'INTERNAL'
        ? new CloveError('IO', `the audit log cannot be read: ${known.message}`).toJSON()
        : known;
    return { id: request.id, error: data };
  }
}
