import { ERROR_CODES, type ErrorCode } from './codes.ts';

export { ERROR_CODES, type ErrorCode } from './codes.ts';

/** An error as it crosses processes, sockets and records: plain data. */
export interface ErrorData {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

export interface CloveErrorOptions {
  /** What the user can do about it: one sentence. */
  readonly hint?: string;
  readonly cause?: unknown;
  /** Facts that help a program or `--verbose`: stage, errno, path… Plain JSON. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/**
 * The one error class. Recognise it by `code`, never by `instanceof`: it may have crossed a process.
 * `message` says what failed and on what, in one line.
 */
export class CloveError extends Error {
  override readonly name = 'CloveError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, options: CloveErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details;
  }

  toJSON(): ErrorData {
    return {
      code: this.code,
      message: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(this.details === undefined ? {} : { details: this.details }),
    };
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERROR_CODES, value);
}

export function isCloveError(value: unknown): value is CloveError {
  return value instanceof Error && 'code' in value && isErrorCode(value.code);
}

/** Rebuilds an error that crossed a process or socket; what is not recognised becomes INTERNAL. */
export function errorFromData(data: unknown): CloveError {
  if (typeof data === 'object' && data !== null && 'code' in data && isErrorCode(data.code)) {
    const { code, message, hint, details } = data as ErrorData;
    return new CloveError(code, String(message), {
      ...(hint === undefined ? {} : { hint }),
      ...(details === undefined ? {} : { details }),
    });
  }
  return new CloveError(
    'INTERNAL',
    typeof data === 'string' ? data : `unrecognised error: ${JSON.stringify(data)}`,
  );
}

/** Any thrown thing as data; a bug keeps its message but is marked INTERNAL. */
export function errorToData(error: unknown): ErrorData {
  if (isCloveError(error)) return error.toJSON();
  return { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };
}
