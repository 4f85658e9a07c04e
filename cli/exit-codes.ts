/** What the exit status of `clove` means; the same for every command. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  /** A run ended and its verdict is "fail", or a threshold was crossed. */
  verdictFailed: 3,
  /** A run ended without enough measured trials for a verdict. */
  noVerdict: 4,
  /** The sandbox could not be set up; nothing ran. */
  sandbox: 125,
  /** Stopped by Ctrl-C or SIGTERM. */
  interrupted: 130,
} as const;
