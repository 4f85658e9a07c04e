import { CloveError } from '../../errors/index.ts';

/** What the files of a world answer in both forms, in words that existing clients know. */

export function notFound(file: string, cause?: unknown): CloveError {
  return new CloveError('NOT_FOUND', 'File not found in virtual filesystem', {
    ...(cause === undefined ? {} : { cause }),
    details: { path: file, errno: 'ENOENT' },
  });
}

export function denied(file: string): CloveError {
  return new CloveError('FORBIDDEN', 'Virtual filesystem write denied', { details: { path: file } });
}

export function full(file: string, reason: string): CloveError {
  return new CloveError('OVERLOAD', `${file.slice(0, 200)}: ${reason}`, { details: { errno: 'ENOSPC' } });
}
