import { chmodSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { CloveError } from '../errors/index.ts';

/**
 * Makes sure that a folder is there and closed to other users. One that is open and in use is refused, not closed: it may be
 * somebody's /tmp. `mayBePassed`: others may go through it to what they know the name of. @throws CONFIG, IO
 */
export function claimPrivateFolder(folder: string, mayBePassed = false): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const stats = statSync(folder);
    if (stats.uid === process.geteuid?.() && (stats.mode & (mayBePassed ? 0o066 : 0o077)) === 0) return;
    if (readdirSync(folder).length === 0) {
      chmodSync(folder, 0o700);
      return;
    }
  } catch (error) {
    throw new CloveError('IO', `cannot use the folder ${folder}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  throw new CloveError('CONFIG', `${folder} is open to other users, or another’s`, {
    hint: 'Choose a folder of its own, or close this one (chmod 700) if it is meant for Clove alone.',
  });
}
