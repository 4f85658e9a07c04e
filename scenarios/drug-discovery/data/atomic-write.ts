import { randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';

/** Longer than any write takes. */
const STALE_AFTER_MS = 3_600_000;

const TEMPORARY_NAME = /^\..+\.[0-9a-f-]{36}\.tmp$/;

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

/** Removes what writers that were killed left in `directory` more than an hour ago. */
export function removeStaleTemporaries(directory: string): void {
  const before = Date.now() - STALE_AFTER_MS;
  for (const name of existsSync(directory) ? readdirSync(directory) : []) {
    if (!TEMPORARY_NAME.test(name)) continue;
    const file = path.join(directory, name);
    const info = statSync(file, { throwIfNoEntry: false });
    if (info !== undefined && info.mtimeMs < before) rmSync(file, { force: true });
  }
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
