import type { ErrorCode } from './codes.ts';

export interface Remedy {
  /** What usually leads to the error. */
  readonly cause: string;
  /** What usually helps: one sentence. An error's own hint says more where it has one. */
  readonly remedy: string;
}

/** For every code of `codes.ts`; `clove explain` and the reference of syscalls show it. */
export const REMEDIES: Readonly<Record<ErrorCode, Remedy>> = {
  BAD_REQUEST: {
    cause: 'A field is missing, misspelt, of another type, or beyond its bounds; the message names it.',
    remedy: 'Compare the payload with the syscall in docs/syscalls.md.',
  },
  UNKNOWN_SYSCALL: {
    cause: 'The client is of another version than the kernel, or the opcode is mistaken.',
    remedy: 'Compare `clove version` with `clove kernel status`, and the opcode with docs/syscalls.md.',
  },
  FORBIDDEN: {
    cause: 'The permissions of the agent do not include this call, path, host or peer.',
    remedy: 'See `clove audit query --denied` for the rule that decided, and grant it (docs/permissions.md).',
  },
  NOT_FOUND: {
    cause: 'The name or id is misspelt, or what it meant has ended or was removed.',
    remedy: 'List what there is: `clove ps --all`, `clove world list`, `clove scenario list`.',
  },
  CONFLICT: {
    cause: 'A name is taken already, or somebody else changed the same thing first.',
    remedy: 'Take another name, or read the present state and try again on it.',
  },
  OVERLOAD: {
    cause: 'More is asked at once than the queue, pool or quota in question takes.',
    remedy:
      'Try again after a pause that grows each time; ask for less at once, or raise the limit that is named.',
  },
  TIMEOUT: {
    cause: 'The work takes longer than its limit, or whoever should answer stands still.',
    remedy: 'Give it more time (--timeout, timeout_ms), or see in its log what it waits for.',
  },
  CANCELLED: {
    cause: 'Ctrl-C, a cancelled call, or a kernel that shuts down.',
    remedy: 'Begin again; an interrupted bench goes on with `clove bench resume`.',
  },
  INTERNAL: {
    cause: 'A bug in Clove.',
    remedy: 'Run it again with --verbose, and report what it prints together with `clove version`.',
  },
  PROTOCOL: {
    cause: 'The peer is no client of Clove, or one with a fault in its framing.',
    remedy: 'Use the SDK, or compare the frames with docs/syscalls.md.',
  },
  PAYLOAD_TOO_LARGE: {
    cause: 'A request or an answer has more bytes than one frame may have.',
    remedy: 'Send it in parts, or keep large data in a file.',
  },
  DISCONNECTED: {
    cause: 'The kernel ended or was restarted, or it closed the connection because of a breach.',
    remedy:
      'Connect again, and see whether the call took effect before repeating it; the log of the kernel tells why.',
  },
  UNREACHABLE: {
    cause: 'No kernel runs, or it serves another socket.',
    remedy: 'Run `clove kernel start`, or name its socket with --socket or CLOVE_SOCKET.',
  },
  ALREADY_RUNNING: {
    cause: 'A kernel was started before and still runs.',
    remedy:
      'Use it (`clove kernel status`), stop it (`clove kernel stop`), or name another --socket and --data-dir.',
  },
  SANDBOX_UNAVAILABLE: {
    cause:
      'This user or machine cannot give a layer that is required: most often limits and users of their own without root.',
    remedy: 'See `clove doctor` for each missing layer, run as root, or ask for less with --require reduced.',
  },
  SETUP_FAILED: {
    cause:
      'A compiler, a folder that can be written, or a feature of the system is missing; the message names it.',
    remedy: 'Bring what is named; `clove doctor` tells what this machine can do.',
  },
  EXEC_FAILED: {
    cause:
      'The program does not exist inside the sandbox, may not be executed, or lacks its interpreter or library.',
    remedy: 'Check its path as seen inside; show host folders to it with --mount SOURCE:TARGET.',
  },
  NETWORK_REFUSED: {
    cause: 'The world has no service for this host, method or path, and agents have no network of the host.',
    remedy:
      'Add a service to the definition of the world (docs/worlds.md), or let the agent ask one that is there.',
  },
  NETWORK_FAULT: {
    cause: 'The chaos of the world drew a fault for this request, as its definition asks.',
    remedy:
      'Let the agent try again; lower or remove the fault in the definition of the world where it is not wanted.',
  },
  PATH_REFUSED: {
    cause: 'The path has `..` or a symbolic link on its way, or names a folder or device.',
    remedy: 'Name a regular file below the root, without links on the way.',
  },
  IO: {
    cause:
      'The disk is full, a permission is missing, or a device failed; the message has the error of the system.',
    remedy: 'Mend what the message names, then try again.',
  },
  AUDIT_FAILED: {
    cause: 'The disk of the data directory is full or cannot be written.',
    remedy: 'Make room there; `--audit-on-failure continue` lets a kernel go on without records.',
  },
  USAGE: {
    cause: 'An option, argument or name is misspelt or does not go with another one.',
    remedy: 'See --help of the command; a hint names what was probably meant.',
  },
  CONFIG: {
    cause:
      'A file has an unknown field, a value out of bounds, or parts that contradict each other; the message says where.',
    remedy:
      'Mend the place that is named; `clove scenario validate` and `clove world validate` check files without running them.',
  },
  DATA_MISSING: {
    cause: 'The folder given with --data has no such file, or none was ever fetched.',
    remedy: 'Run `clove data fetch`, name the folder with --data or CLOVE_DATA, or take --data built-in.',
  },
  DATA_CORRUPT: {
    cause: 'A download was cut short, or a file was changed after it was written.',
    remedy: 'Remove the file that is named and fetch or make it again.',
  },
  TRIAL_FAILED: {
    cause: 'The worker of a scenario threw an exception, or its process was ended.',
    remedy:
      'Read the log of the trial in the report; `clove bench resume` goes on with a run that was interrupted.',
  },
  RUN_NOT_FOUND: {
    cause: 'The id is misspelt, or the run is in another folder of runs.',
    remedy: 'See `clove bench list`, and name the folder with --runs-dir or CLOVE_RUNS.',
  },
  RUN_BUSY: {
    cause: 'Another `clove bench run` or `resume` still works on it.',
    remedy: 'Wait until it has ended, or stop it with Ctrl-C and go on with `clove bench resume`.',
  },
};
