// The disk of a mounted world while something is wrong with it: the kernel asks before each open and read, and is answered.
import { constants, release } from 'node:os';
import { CloveError } from '../errors/index.ts';
import { loadAddon } from './load.ts';

/** One open or read of a process of the world; it waits until it is answered. */
export interface DiskAccess {
  readonly kind: 'read' | 'open' | 'open-for-writing';
  /** As the process sees it. */
  readonly path: string;
  /** Lets it go on, or fail. False: this kernel takes no such error, and it went on. At most once. */
  answer(error: null | 'EIO' | 'ENOSPC'): boolean;
}

interface Face {
  watchDisk(
    folder: number,
    ask: (fd: number, thread: number, isRead: boolean, isWrite: boolean, path: string) => void,
  ): unknown;
  answerDisk(handle: unknown, fd: number, errno: number): boolean;
  unwatchDisk(handle: unknown): void;
  setReadonly(folder: number, on: boolean): number;
}

const ERRNO = { EIO: constants.errno.EIO, ENOSPC: constants.errno.ENOSPC };

function face(): Face {
  return (loadAddon() as unknown as { readonly worldFaults: Face }).worldFaults;
}

/**
 * Asks about every open and read of files in the file system that the folder is of, by anybody but this process. Returns how to stop:
 * whoever waits then goes on. @throws SANDBOX_UNAVAILABLE (no root, or a kernel without permission events)
 */
export function watchDisk(folderFd: number, onAccess: (access: DiskAccess) => void): () => void {
  const { watchDisk: watch, answerDisk, unwatchDisk } = face();
  let isOpen = true;
  const handle = watch(folderFd, (fd, _thread, isRead, isWrite, path) => {
    let isAnswered = false;
    onAccess({
      kind: isRead ? 'read' : isWrite ? 'open-for-writing' : 'open',
      path,
      answer(error) {
        if (isAnswered || !isOpen) return true;
        isAnswered = true;
        return answerDisk(handle, fd, error === null ? 0 : ERRNO[error]);
      },
    });
  });
  if (typeof handle === 'number')
    throw new CloveError('SANDBOX_UNAVAILABLE', `the disk of a world cannot be watched: ${nameOf(-handle)}`, {
      hint: 'It takes root and a kernel with fanotify permission events (CONFIG_FANOTIFY_ACCESS_PERMISSIONS).',
      details: { errno: nameOf(-handle) },
    });
  return () => {
    if (!isOpen) return;
    isOpen = false;
    unwatchDisk(handle);
  };
}

/** Whether answers may name an error: others than EPERM take Linux 6.14. */
export function canNameErrors(kernel = release()): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10));
  return major > 6 || (major === 6 && minor >= 14);
}

/** Whether the whole file system takes changes. @throws CONFLICT (a file there is open for writing), IO */
export function setReadonly(folderFd: number, isReadonly: boolean): void {
  const result = face().setReadonly(folderFd, isReadonly);
  if (result === 0) return;
  const errno = nameOf(-result);
  if (errno === 'EBUSY')
    throw new CloveError('CONFLICT', 'a file of the world is open for writing: it cannot become read-only', {
      details: { errno },
    });
  throw new CloveError('IO', `the files of the world cannot be made read-only: ${errno}`, {
    details: { errno },
  });
}

function nameOf(errno: number): string {
  return Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
}
