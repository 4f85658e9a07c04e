/** Every error code a caller of Clove can meet, with what it means and what usually helps. Codes are never reused. */
export const ERROR_CODES = {
  // requests
  BAD_REQUEST: 'The request is not of the form the syscall takes.',
  UNKNOWN_SYSCALL: 'No syscall has this opcode.',
  FORBIDDEN: 'The caller may not do this.',
  NOT_FOUND: 'What the request names does not exist.',
  CONFLICT: 'What the request would create exists already, or changed meanwhile.',
  OVERLOAD: 'A bounded queue, pool or quota is full; try again later.',
  TIMEOUT: 'The call did not end within its time limit.',
  CANCELLED: 'The call was cancelled by its caller or by a shutdown.',
  INTERNAL: 'A fault of Clove itself.',
  // wire
  PROTOCOL: 'Bytes on the socket do not follow the wire protocol.',
  PAYLOAD_TOO_LARGE: 'The payload is larger than the limit.',
  DISCONNECTED: 'The connection to the kernel ended before the answer came.',
  UNREACHABLE: 'No kernel answers at this socket.',
  ALREADY_RUNNING: 'A kernel already serves this socket or data directory.',
  // sandbox
  SANDBOX_UNAVAILABLE: 'A required isolation layer could not be had; nothing ran.',
  SETUP_FAILED: 'The machine lacks something that Clove needs to start.',
  EXEC_FAILED: 'The program could not be executed inside the sandbox.',
  // worlds
  NETWORK_REFUSED: 'Nothing in the world answers this request, and there is no way out of it.',
  NETWORK_FAULT: 'An injected fault of the world ended the request.',
  // files
  PATH_REFUSED: 'The path leaves its root, is a link, or is not a regular file.',
  IO: 'The operating system reported an error.',
  // audit
  AUDIT_FAILED: 'The call must be recorded, and the audit log cannot be written at present.',
  // bench, data
  USAGE: 'The command line does not make sense.',
  CONFIG: 'A configuration, scenario or data file does not make sense.',
  DATA_MISSING: 'A data set is not where it was looked for.',
  DATA_CORRUPT: 'Stored data does not have the checksum or form it should have.',
  TRIAL_FAILED: 'A trial of the bench itself failed: it threw, or its process ended without a result.',
  RUN_NOT_FOUND: 'No run with this name is in the store.',
  RUN_BUSY: 'Another process is working on this run.',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;
