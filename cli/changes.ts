import { watch } from 'node:fs';
import path from 'node:path';

/** Editors write a file in several steps. */
const QUIET_MS = 150;

/**
 * Yields when a file, or another of its kind in its folder, has changed and been left alone for a moment; what changes while
 * the last one is being dealt with counts as one more. Logs and what editors leave behind are of other kinds. Ends with the
 * signal.
 */
export async function* changesBeside(file: string, signal: AbortSignal): AsyncGenerator<void, void, void> {
  let changed = Promise.withResolvers<void>();
  let quiet: NodeJS.Timeout | undefined;
  const watcher = watch(path.dirname(file), (_type, name) => {
    if (name !== null && (name.startsWith('.') || path.extname(name) !== path.extname(file))) return;
    clearTimeout(quiet);
    quiet = setTimeout(() => changed.resolve(), QUIET_MS);
  });
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  watcher.on('error', (error) => failed.reject(error));
  const onAbort = () => changed.resolve();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    while (!signal.aborted) {
      await Promise.race([changed.promise, failed.promise]);
      if (signal.aborted) return;
      changed = Promise.withResolvers<void>();
      yield;
    }
  } finally {
    clearTimeout(quiet);
    signal.removeEventListener('abort', onAbort);
    watcher.close();
  }
}
