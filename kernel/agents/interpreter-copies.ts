import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { lstat, mkdir, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { CloveError } from '../../errors/index.ts';
import type { SandboxMount } from '../../native/types.ts';
import { isOpenToOthers } from './host-paths.ts';
import { openCopy } from './open-copy.ts';

/**
 * Copies of interpreters that only their owner can read (installed under umask 077, say): an agent's user is nobody's. They are
 * kept from one kernel to the next, one for each installation, and made anew when that has changed. What a request mounts
 * itself is never copied: that it is closed may be meant so.
 */
export class InterpreterCopies {
  readonly #folder: string;
  /** By source: where it can be read. */
  readonly #places = new Map<string, Promise<string>>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The same mounts, from copies where that is needed. @throws SETUP_FAILED */
  open(mounts: readonly SandboxMount[]): Promise<readonly SandboxMount[]> {
    return Promise.all(
      mounts.map(async (mount) => {
        const source = await this.#placeOf(mount.source);
        return source === mount.source ? mount : { ...mount, source };
      }),
    );
  }

  #placeOf(source: string): Promise<string> {
    const known = this.#places.get(source);
    if (known !== undefined) return known;
    const place = this.#find(source);
    this.#places.set(source, place);
    // What could not be copied now may be possible later.
    place.catch(() => this.#places.delete(source));
    return place;
  }

  async #find(source: string): Promise<string> {
    if (await isOpen(source)) return source;
    const { ino, mtimeMs, size } = await lstat(source);
    const ofSource = shortHash(source);
    const name = `${ofSource}-${shortHash(`${ino} ${mtimeMs} ${size}`)}`;
    const copy = path.join(this.#folder, name);
    if (existsSync(copy)) return copy;
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      for (const other of await readdir(this.#folder)) {
        if (other.startsWith(ofSource))
          await rm(path.join(this.#folder, other), { recursive: true, force: true });
      }
      // A name of its own until it is whole: a kernel that is killed leaves no half of a copy under the real one.
      const unfinished = `${copy}.unfinished`;
      await openCopy(source, unfinished);
      if (!existsSync(unfinished)) return source;
      await rename(unfinished, copy);
      return copy;
    } catch (error) {
      throw new CloveError(
        'SETUP_FAILED',
        `an interpreter that only its owner can read cannot be copied: ${source}`,
        {
          cause: error,
          hint: `Open it to other users (chmod -R o+rX), or make room in ${this.#folder}.`,
        },
      );
    }
  }
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

/** Of an installation: closed ones are closed as a whole, and they have tens of thousands of files. */
async function isOpen(source: string): Promise<boolean> {
  for (const file of [
    source,
    path.join(source, 'bin'),
    path.join(source, 'lib'),
    path.join(source, 'pyvenv.cfg'),
  ]) {
    const stats = await lstat(file).catch(() => null);
    if (stats === null || stats.isSymbolicLink()) continue;
    const isProgram = stats.isFile() && (stats.mode & 0o100) !== 0;
    if (!isOpenToOthers(stats) || (isProgram && (stats.mode & 0o001) === 0)) return false;
  }
  return true;
}
