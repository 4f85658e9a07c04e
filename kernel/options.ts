/** Options of a kernel with their defaults filled in. */
export interface KernelOptions {
  /** Unix socket of the operator's clients. */
  readonly socketPath: string;
  /** Where the lock file and, later, durable records live; made 0700. */
  readonly dataDirectory: string;
  /** Parent of the folder of this boot (agent sockets); made 0700. */
  readonly runDirectory: string;
  /** 'off' lets every agent run without isolation: said in each of their reports. */
  readonly sandbox: 'required' | 'off';
  readonly logLevel: 'silent' | 'error' | 'warn' | 'info' | 'debug' | 'trace';
  /** Users besides the kernel's own who may use the operator's socket. */
  readonly operatorUids: readonly number[];
  readonly maxAgents: number;
  readonly maxConnections: number;
  /** How long close() lets agents end by themselves. */
  readonly drainMs: number;
}
