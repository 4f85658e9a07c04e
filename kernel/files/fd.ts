import * as fs from 'node:fs';
import { promisify } from 'node:util';
import { CloveError } from '../../errors/index.ts';

const fstat = promisify(fs.fstat);
const readFd = promisify(fs.read);
const writeFd = promisify(fs.write);
const closeFd = promisify(fs.close);

/** Largest file READ answers with; in JSON it may double. */
export const MAX_READ_BYTES = 8 * 2 ** 20;
const FIRST_CHUNK_BYTES = 64 * 1024;

/** Reads a whole regular file and closes the fd. Sizes are not believed: /proc says 0, and files grow. @throws PATH_REFUSED, PAYLOAD_TOO_LARGE, IO */
export async function readAndClose(fd: number): Promise<Buffer> {
  try {
    const stats = await fstat(fd);
    assertRegular(stats);
    if (stats.size > MAX_READ_BYTES) throw tooLarge();
    let buffer = Buffer.allocUnsafe(stats.size > 0 ? stats.size + 1 : FIRST_CHUNK_BYTES);
    let length = 0;
    for (;;) {
      const { bytesRead } = await readFd(fd, buffer, length, buffer.length - length, null);
      if (bytesRead === 0) return buffer.subarray(0, length);
      length += bytesRead;
      if (length > MAX_READ_BYTES) throw tooLarge();
      if (length === buffer.length) {
        const grown = Buffer.allocUnsafe(Math.min(length * 2, MAX_READ_BYTES + 1));
        buffer.copy(grown, 0, 0, length);
        buffer = grown;
      }
    }
  } finally {
    await closeFd(fd);
  }
}

/** Writes everything and closes the fd. @throws PATH_REFUSED, IO */
export async function writeAndClose(fd: number, content: Uint8Array, truncate: boolean): Promise<void> {
  try {
    assertRegular(await fstat(fd));
    if (truncate) await promisify(fs.ftruncate)(fd, 0);
    let offset = 0;
    while (offset < content.length) {
      const { bytesWritten } = await writeFd(fd, content, offset, content.length - offset, null);
      offset += bytesWritten;
    }
  } finally {
    await closeFd(fd);
  }
}

export function assertRegular(stats: fs.Stats): void {
  if (!stats.isFile()) throw new CloveError('PATH_REFUSED', 'not a regular file');
}

function tooLarge(): CloveError {
  return new CloveError('PAYLOAD_TOO_LARGE', `file is larger than ${MAX_READ_BYTES} bytes`, {
    hint: 'Read it in parts with EXEC (head, tail, dd), or from inside the sandbox.',
  });
}

const SMALL_BYTES = 64 * 1024;

/** Text where the bytes are valid UTF-8, else base64; base64 too for text that JSON would blow up by its escapes. */
export function contentFields(bytes: Buffer): { content: string; encoding?: 'base64' } {
  const text = bytes.toString('utf8');
  const isText = !text.includes('\uFFFD') || Buffer.from(text).equals(bytes);
  const isCompact = bytes.length <= SMALL_BYTES || JSON.stringify(text).length <= 2 * bytes.length;
  return isText && isCompact ? { content: text } : { content: bytes.toString('base64'), encoding: 'base64' };
}
