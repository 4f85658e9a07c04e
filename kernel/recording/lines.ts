import { createReadStream, type ReadStream } from 'node:fs';
import { CloveError } from '../../errors/index.ts';

/** The largest entry: a request and an answer, written as JSON in JSON. */
const MAX_LINE_BYTES = 256 * 2 ** 20;

/** One line of the file; `ended` is false for bytes behind the last end of line. */
export interface Line {
  readonly bytes: Buffer;
  readonly ended: boolean;
}

/** Lines of a file, or of its first `bytes`; a descriptor stays open. @throws NOT_FOUND, IO; DATA_CORRUPT for a line without end */
export async function* linesOf(
  file: string | number,
  bytes = Number.POSITIVE_INFINITY,
): AsyncGenerator<Line, void, void> {
  let parts: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of readFrom(file, bytes - 1)) {
      let rest = chunk as Buffer;
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        parts.push(rest.subarray(0, end));
        yield { bytes: Buffer.concat(parts), ended: true };
        parts = [];
        length = 0;
        rest = rest.subarray(end + 1);
      }
      if (rest.length > 0) parts.push(rest);
      length += rest.length;
      if (length > MAX_LINE_BYTES) {
        throw new CloveError(
          'DATA_CORRUPT',
          `recording refused: a line of more than ${MAX_LINE_BYTES} bytes`,
        );
      }
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new CloveError('NOT_FOUND', `no such recording: ${file}`);
    if (typeof code === 'string' && error instanceof Error && 'syscall' in error) {
      throw new CloveError('IO', `cannot read ${file}: ${error.message}`, { cause: error });
    }
    throw error;
  }
  if (length > 0) yield { bytes: Buffer.concat(parts), ended: false };
}

function readFrom(file: string | number, end: number): ReadStream {
  const how = { highWaterMark: 2 ** 18, start: 0, end };
  return typeof file === 'string'
    ? createReadStream(file, how)
    : createReadStream('', { ...how, fd: file, autoClose: false });
}
