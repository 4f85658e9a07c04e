import * as fs from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { CloveError, type ErrorCode, isCloveError } from '../../errors/index.ts';
import type { OpenInsideOptions } from '../../native/types.ts';
import { insideOf } from '../agents/inside.ts';
import type { Caller } from '../identity.ts';
import type { Kernel } from '../kernel.ts';
import { openChecked, type Place } from './checked.ts';

const openFd = promisify(fs.open);
const { O_RDONLY, O_WRONLY, O_CREAT, O_APPEND, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = fs.constants;

/** Not truncated at once: first it must turn out to be a regular file. */
const HOST_FLAGS: Readonly<Record<OpenInsideOptions['flags'], number>> = {
  read: O_RDONLY,
  write: O_WRONLY | O_CREAT,
  append: O_WRONLY | O_CREAT | O_APPEND,
};

const NEW_FILE_MODE = 0o644;

/**
 * Opens a file as its caller sees it: an agent inside its sandbox and with its rights, an operator on the host with the
 * kernel's. Links as last component are refused and a FIFO or device cannot make it wait. A file opened to be written has not
 * been truncated for sure: whoever writes does that. @throws NOT_FOUND, FORBIDDEN, PATH_REFUSED, IO
 */
export async function openForCaller(
  kernel: Kernel,
  caller: Caller,
  path: string,
  flags: OpenInsideOptions['flags'],
): Promise<number> {
  if (path.includes('\0')) throw new CloveError('BAD_REQUEST', 'invalid request: path contains NUL');
  const place = await placeOf(kernel, caller, path);
  const { permissions } = kernel;
  const operation = flags === 'read' ? 'read' : 'write';
  if (!permissions.boundsPaths(caller, operation)) return place.open(flags);
  return openChecked(place, flags, (file) => permissions.checkOpened(caller, file, operation));
}

async function placeOf(kernel: Kernel, caller: Caller, path: string): Promise<Place> {
  if (caller.kind === 'operator') {
    return { root: '', path: resolve(path), open: (flags) => openOnHost(path, flags) };
  }
  const { sandbox, cwd } = await insideOf(kernel, caller);
  // Joined, not normalised: what `..` means after a link is for the sandbox to say.
  const absolute = path.startsWith('/') ? path : `${cwd}/${path}`;
  return {
    root: `/proc/${sandbox.initPid}/root`,
    path: absolute,
    open: (flags) => sandbox.openInside(absolute, { flags, mode: NEW_FILE_MODE }),
  };
}

async function openOnHost(path: string, flags: OpenInsideOptions['flags']): Promise<number> {
  try {
    return await openFd(path, HOST_FLAGS[flags] | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, NEW_FILE_MODE);
  } catch (error) {
    throw hostError(error);
  }
}

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'NOT_FOUND',
  ENOTDIR: 'NOT_FOUND',
  EACCES: 'FORBIDDEN',
  EPERM: 'FORBIDDEN',
  ELOOP: 'PATH_REFUSED',
  EISDIR: 'PATH_REFUSED',
  ENXIO: 'PATH_REFUSED',
};

/** An error of a file call under the code it means. */
export function hostError(error: unknown): CloveError {
  if (isCloveError(error)) return error;
  const errno = error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN';
  return new CloveError(CODES[errno] ?? 'IO', errno, { cause: error, details: { errno } });
}
