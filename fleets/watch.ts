import { type FSWatcher, watch } from 'node:fs';
import path from 'node:path';

/** Editors write a file in several steps. */
const QUIET_MS = 150;

export interface FileWatch {
  /** Other files from now on. */
  set(files: readonly string[]): void;
  close(): void;
}

/** Calls back when one of some files was written, replaced, made or removed, once for what comes close together. */
export function watchFiles(files: readonly string[], changed: (files: readonly string[]) => void): FileWatch {
  const folders = new Map<string, FSWatcher>();
  let wanted = new Set<string>();
  let touched = new Set<string>();
  let timer: NodeJS.Timeout | null = null;
  const touch = (file: string) => {
    if (!wanted.has(file)) return;
    touched.add(file);
    if (timer !== null) clearTimeout(timer);
    timer = setTimeout(() => {
      const all = [...touched];
      touched = new Set();
      changed(all);
    }, QUIET_MS);
  };
  const set = (next: readonly string[]) => {
    wanted = new Set(next);
    const needed = new Set(next.map((file) => path.dirname(file)));
    for (const [folder, watcher] of folders) {
      if (needed.has(folder)) continue;
      watcher.close();
      folders.delete(folder);
    }
    // A file that is replaced is another one: its folder stays.
    for (const folder of needed) {
      if (folders.has(folder)) continue;
      const watcher = watch(folder, (_, name) => {
        if (name !== null) touch(path.join(folder, name));
      });
      watcher.on('error', () => watcher.close());
      folders.set(folder, watcher);
    }
  };
  set(files);
  return {
    set,
    close() {
      if (timer !== null) clearTimeout(timer);
      for (const watcher of folders.values()) watcher.close();
      folders.clear();
    },
  };
}
