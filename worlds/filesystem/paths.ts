import path from 'node:path';
import { CloveError } from '../../errors/index.ts';

export const MAX_PATH_BYTES = 4096;
const MAX_NAME_BYTES = 255;
const MAX_DEPTH = 128;

/** What is as it has to be already, within every bound: printable ASCII from the root, no `.`, `..` or empty name. */
const PLAIN = /^(?:\/(?!\.{1,2}(?:\/|$))[ -.0-~]+)+$/;

/** A path of a world as it is stored. @throws PATH_REFUSED */
export function checkedPath(file: string): string {
  if (file.length < MAX_NAME_BYTES && PLAIN.test(file)) return file;
  if (file.includes('\0') || !file.isWellFormed()) throw refusedPath(file, 'NUL or malformed text');
  const normal = path.posix.normalize(`/${file}`).replace(/\/+$/, '').replace(/^\/+/, '/') || '/';
  if (Buffer.byteLength(normal) > MAX_PATH_BYTES)
    throw refusedPath(normal, `longer than ${MAX_PATH_BYTES} bytes`);
  const names = normal.split('/');
  if (names.length > MAX_DEPTH) throw refusedPath(normal, `deeper than ${MAX_DEPTH} folders`);
  if (names.some((name) => Buffer.byteLength(name) > MAX_NAME_BYTES)) {
    throw refusedPath(normal, `a name longer than ${MAX_NAME_BYTES} bytes`);
  }
  return normal;
}

export function refusedPath(file: string, reason: string): CloveError {
  return new CloveError('PATH_REFUSED', `${file.slice(0, 200)}: ${reason}`);
}
