import { parentPort, workerData } from 'node:worker_threads';
import { errorToData } from '../../errors/index.ts';
import { type LogFiles, queryFiles, verifyFiles } from './offline.ts';
import type { ReaderAnswer, ReaderRequest } from './reader.ts';

if (parentPort === null) throw new Error('reader-worker runs in a worker thread only');
const port = parentPort;
const files = workerData as LogFiles;

port.on('message', (request: ReaderRequest) => port.postMessage(answer(request)));

function answer(request: ReaderRequest): ReaderAnswer {
  try {
    const result = request.kind === 'query' ? queryFiles(files, request.query) : verifyFiles(files);
    return { id: request.id, result };
  } catch (error) {
    return { id: request.id, error: errorToData(error) };
  }
}
