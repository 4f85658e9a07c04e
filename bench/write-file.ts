import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { CloveError } from '../errors/index.ts';

/** Replaces a file at once: a reader sees the old one or the whole new one. Throws IO. */
export function writeFileAtomically(file: string, content: string): void {
  const partial = `${file}.${process.pid}.tmp`;
  try {
    const fd = openSync(partial, 'w', 0o644);
    try {
      let rest = Buffer.from(content);
      while (rest.length > 0) rest = rest.subarray(writeSync(fd, rest));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(partial, file);
  } catch (cause) {
    rmSync(partial, { force: true });
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CloveError('IO', `cannot write ${file}: ${reason}`, { cause });
  }
}
