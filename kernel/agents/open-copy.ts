/** What only its owner may read (a clone made under umask 077, say) is nothing to an agent, whose user is nobody's. */
import { chmod, cp, lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** The path itself when every user can read it and all below, else a copy at `copy` that every user can read. */
export async function openCopy(source: string, copy: string): Promise<string> {
  if (await isOpen(source)) return source;
  await cp(source, copy, { recursive: true, verbatimSymlinks: true });
  await open(copy);
  return copy;
}

/** The rights of others: read, and enter or execute where the owner may. */
function rightsOfOthers(mode: number): number {
  return 0o004 | ((mode & 0o100) === 0 ? 0 : 0o001);
}

/** Whether every user can read it and all below. */
export async function isOpen(path: string): Promise<boolean> {
  const stats = await lstat(path);
  if (stats.isSymbolicLink()) return true;
  const needed = rightsOfOthers(stats.mode);
  if ((stats.mode & needed) !== needed) return false;
  if (!stats.isDirectory()) return true;
  for (const entry of await readdir(path)) if (!(await isOpen(join(path, entry)))) return false;
  return true;
}

/** Whether every user can go through a folder. */
export async function isPassable(path: string): Promise<boolean> {
  return ((await stat(path)).mode & 0o001) !== 0;
}

async function open(path: string): Promise<void> {
  const stats = await lstat(path);
  if (stats.isSymbolicLink()) return;
  await chmod(path, (stats.mode & 0o777) | rightsOfOthers(stats.mode));
  if (stats.isDirectory()) for (const entry of await readdir(path)) await open(join(path, entry));
}
