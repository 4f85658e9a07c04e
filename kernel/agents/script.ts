import { chmod, copyFile, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { CloveError } from '../../errors/index.ts';
import type { SandboxMount } from '../../native/types.ts';
import { existing, isInsideAnyway, isOpenToOthers, whyTooBroad } from './host-paths.ts';

/** How a script came to be readable inside, for the answer: a script whose neighbours are missing should say why. */
export interface ScriptPlace {
  readonly path: string;
  readonly mounted: 'folder' | 'file' | 'copy' | 'host';
  /** Why less than the folder. */
  readonly reason: string | null;
}

export interface ResolvedScript {
  readonly place: ScriptPlace;
  readonly mounts: readonly SandboxMount[];
}

/**
 * The script stays at its path and its folder can be read, so that what it imports from beside it is there. Not so when the
 * folder is too broad (see whyTooBroad) or closed to other users: then only the file. A script that only its owner can read
 * is copied for the agent, whose user is nobody's. @throws NOT_FOUND, PATH_REFUSED
 */
export async function resolveScript(
  script: string,
  ownFiles: boolean,
  stagingFolder: string,
): Promise<ResolvedScript> {
  const file = path.resolve(script);
  const found = await existing(file);
  if (found === null) throw new CloveError('NOT_FOUND', `script not found: ${script}`);
  if (!found.stats.isFile()) throw new CloveError('PATH_REFUSED', `script is not a regular file: ${script}`);
  const placed = (mounted: ScriptPlace['mounted'], reason: string | null, mounts: SandboxMount[]) => ({
    place: { path: file, mounted, reason },
    mounts,
  });
  if (isInsideAnyway(file)) return placed('host', null, []);
  if (!ownFiles) {
    const folder = path.dirname(found.real);
    const source = (await whyTooBroad(folder)) === null ? folder : found.real;
    return placed('host', null, [{ source, target: source, readonly: true }]);
  }
  if (!isOpenToOthers(found.stats)) {
    await mkdir(stagingFolder, { recursive: true, mode: 0o700 });
    const copy = path.join(stagingFolder, 'script');
    await copyFile(found.real, copy);
    await chmod(copy, 0o444);
    return placed('copy', 'only its owner can read it', [{ source: copy, target: file, readonly: true }]);
  }
  const fileOnly = [{ source: found.real, target: file, readonly: true }];
  const folder = path.dirname(file);
  const realFolder = await existing(folder);
  if (realFolder === null) throw new CloveError('NOT_FOUND', `script not found: ${script}`);
  const reason = await whyTooBroad(realFolder.real);
  if (reason !== null) return placed('file', reason, fileOnly);
  if (!isOpenToOthers(realFolder.stats)) {
    return placed('file', `${folder} is closed to other users`, fileOnly);
  }
  // The script may be a link that leads out of its folder.
  const leadsOut = path.dirname(found.real) !== realFolder.real;
  const mounts: SandboxMount[] = [{ source: realFolder.real, target: folder, readonly: true }];
  if (leadsOut && !isInsideAnyway(found.real)) {
    return placed('file', 'the script is a link to another folder', fileOnly);
  }
  return placed('folder', null, mounts);
}

/**
 * A script of an agent, for its child: what the agent reads at that path is copied, and found by the child at the same place.
 * The path is never looked up on the host. @throws NOT_FOUND, PATH_REFUSED, FORBIDDEN
 */
export async function copyScript(
  script: string,
  ownFiles: boolean,
  stagingFolder: string,
  read: (script: string) => Promise<Uint8Array>,
): Promise<ResolvedScript> {
  if (!script.startsWith('/')) {
    throw new CloveError('BAD_REQUEST', 'invalid request: script must be an absolute path');
  }
  const file = path.posix.normalize(script);
  // The child opens it by itself, with its own rights.
  if (!ownFiles || isInsideAnyway(file)) {
    return { place: { path: file, mounted: 'host', reason: null }, mounts: [] };
  }
  const content = await read(file);
  await mkdir(stagingFolder, { recursive: true, mode: 0o700 });
  const copy = path.join(stagingFolder, 'script');
  await writeFile(copy, content, { mode: 0o444 });
  return {
    place: { path: file, mounted: 'copy', reason: 'it is a file of another agent' },
    mounts: [{ source: copy, target: file, readonly: true }],
  };
}
