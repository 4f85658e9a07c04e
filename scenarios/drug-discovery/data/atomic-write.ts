import { randomUUID } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';

/**
 * Writes `chunks` to `file` so that readers see nothing or all of it, even after a power cut; directories are made.
 * The file can be read by everyone, as sandboxed workers run under other user ids.
 */
export function writeFileAtomically(file: string, chunks: readonly Uint8Array[]): void {
  const directory = path.dirname(file);
  mkdirSync(directory, { recursive: true });
  const temporary = path.join(directory, `.${path.basename(file)}.${randomUUID()}.tmp`);
  const descriptor = openSync(temporary, 'wx', 0o644);
  try {
    try {
      fchmodSync(descriptor, 0o644);
      for (const chunk of chunks) {
        for (let written = 0; written < chunk.byteLength; ) written += writeSync(descriptor, chunk, written);
      }
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, file);
  } catch (error) {
    unlinkSync(temporary);
    throw error;
  }
  syncDirectory(directory);
}

/** Makes a rename in `directory` durable. */
export function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
