import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import { CloveError } from '../../errors/index.ts';
import { assertRegular } from '../files/fd.ts';
import { readBody } from './body.ts';
import type { LastHop } from './client.ts';

const fstat = promisify(fs.fstat);
const truncate = promisify(fs.ftruncate);
const writeFd = promisify(fs.write);
const closeFd = promisify(fs.close);

export interface Downloaded {
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/**
 * Streams a response into a file, opened when there is something to write. A file that did not come whole, or is not what was
 * expected, is left empty: half of one is never taken for it. @throws DATA_CORRUPT, PATH_REFUSED, PAYLOAD_TOO_LARGE, IO …
 */
export async function saveBody(
  { response, signal }: LastHop,
  maxBytes: number,
  expectedSha256: string | null,
  open: () => Promise<number>,
): Promise<Downloaded> {
  const fd = await open();
  try {
    assertRegular(await fstat(fd));
    await truncate(fd, 0);
    try {
      return await save(fd, response, maxBytes, expectedSha256, signal);
    } catch (error) {
      await truncate(fd, 0);
      throw error;
    }
  } finally {
    await closeFd(fd);
  }
}

async function save(
  fd: number,
  response: LastHop['response'],
  maxBytes: number,
  expectedSha256: string | null,
  signal: AbortSignal,
): Promise<Downloaded> {
  const hash = createHash('sha256');
  let bytes = 0;
  await readBody(response, maxBytes, signal, async (chunk) => {
    hash.update(chunk);
    let written = 0;
    while (written < chunk.length) {
      const { bytesWritten } = await writeFd(fd, chunk, written, chunk.length - written, bytes + written);
      written += bytesWritten;
    }
    bytes += chunk.length;
  });
  const sha256 = hash.digest('hex');
  if (expectedSha256 !== null && sha256 !== expectedSha256) {
    throw new CloveError(
      'DATA_CORRUPT',
      `the file has SHA-256 ${sha256}, not ${expectedSha256}; it was emptied`,
    );
  }
  return { bytes, sha256 };
}
