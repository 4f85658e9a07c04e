/**
 * The plain values that cross between TypeScript and the native part. Names and order are the same on both sides;
 * `null` stands for absent. No policy lives here: the kernel decides, native does.
 */

/** One protection or limit of a sandbox; the same names in requests, reports, audit and docs. */
export const LAYERS = [
  'uid',
  'userns',
  'pidns',
  'mntns',
  'netns',
  'ipcns',
  'utsns',
  'cgroupns',
  'timens',
  'root_ro',
  'overlay',
  'proc_masked',
  'dev_min',
  'sys_hidden',
  'caps',
  'nnp',
  'seccomp',
  'landlock',
  'fds',
  'env',
  'session',
  'pdeath',
  'mem',
  'swap',
  'cpu',
  'pids',
  'cpuset',
  'disk',
  'inodes',
  'fsize',
  'nofile',
  'freeze',
  'kill',
] as const;

export type Layer = (typeof LAYERS)[number];

/** Every layer a root kernel can have by itself: not those that replace another, or that only a request can mean. */
export const ROOT_LAYERS: readonly Layer[] = LAYERS.filter(
  (layer) => !['userns', 'timens', 'overlay', 'cpuset'].includes(layer),
);
export type LayerState = 'on' | 'off' | 'degraded' | 'n/a';

/** What became of one layer. `how` is evidence (what was done and read back), never a guess. */
export interface LayerReport {
  readonly layer: Layer;
  /** Whether the request's profile or limits asked for it. */
  readonly requested: boolean;
  readonly state: LayerState;
  readonly how: string;
  /** Name of the errno that stopped it ("EPERM"), else null. */
  readonly errno: string | null;
  readonly hint: string | null;
}

export interface SandboxLimits {
  /** Memory of the whole tree incl. tmpfs pages. */
  readonly memoryBytes: number | null;
  /** Swap on top of memory; 0 = none. */
  readonly swapBytes: number | null;
  /** CPU time per period, in µs; with cpuPeriodUs. null = no quota. */
  readonly cpuQuotaUs: number | null;
  readonly cpuPeriodUs: number;
  /** Relative weight, 2..262144, 1024 = default. null = leave. */
  readonly cpuShares: number | null;
  /** cpuset list such as "0-1"; null = all. */
  readonly cpus: string | null;
  readonly maxPids: number | null;
  /** RLIMIT_FSIZE. */
  readonly fileSizeBytes: number | null;
  /** RLIMIT_NOFILE. */
  readonly maxOpenFiles: number;
  /** Size of each writable tmpfs (/work, /tmp, /run, /dev/shm). */
  readonly tmpfsBytes: number;
  /** Inodes of each writable tmpfs. */
  readonly tmpfsInodes: number;
}

export interface SandboxMount {
  /** Absolute path on the host; opened by the parent before anything of the agent runs. File or directory. */
  readonly source: string;
  /** Absolute path inside. Parents are made. */
  readonly target: string;
  readonly readonly: boolean;
}

export type NetworkMode = 'none' | 'host';

/** What a sandbox gets of a world, as descriptors of this process. They are duplicated: close them after the launch. */
export interface SandboxWorld {
  /** A network namespace (makeWorldNetwork); null = one of its own, empty. */
  readonly netnsFd: number | null;
  /** Detached mounts (WorldTree.copy), each for one launch; attached before `mounts` of the spec. */
  readonly trees: readonly { readonly treeFd: number; readonly target: string; readonly readonly: boolean }[];
  /** Content of /etc/resolv.conf and lines added to /etc/hosts; null = as without a world. */
  readonly resolv: string | null;
  readonly hosts: string | null;
  /** What the report says of these layers when they are on: they are the world's. */
  readonly layers: Readonly<Partial<Record<Layer, string>>>;
}

/** Why a layer cannot be had here. */
export interface UnavailableLayer {
  readonly how: string;
  readonly errno: string | null;
}

/** One sandbox, as one plain value. */
export interface SandboxSpec {
  /** Unique per live sandbox; made by the kernel from boot id and agent id, never from user text. [a-z0-9-]{1,64} */
  readonly instance: string;
  /** Hostname inside. */
  readonly hostname: string;
  /** Full argv; argv[0] is resolved inside the sandbox against env.PATH unless it has a slash. */
  readonly argv: readonly string[];
  /** The complete environment. Nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** Working directory inside; default /work. */
  readonly cwd: string;
  /** Host uid and gid of the agent; unique per live agent. Never 0. */
  readonly uid: number;
  readonly gid: number;
  readonly limits: SandboxLimits;
  readonly mounts: readonly SandboxMount[];
  /** Host path of a listening unix socket of this agent, bound to /run/clove.sock inside (and linked from /tmp/clove.sock); null = none. */
  readonly socketPath: string | null;
  /** 'none': own empty network namespace with lo up. 'host': the host's network. */
  readonly network: NetworkMode;
  /** Absent or null = the sandbox is in no world. Needs network 'none'. */
  readonly world?: SandboxWorld | null;
  /** 'debug' also allows ptrace. 'strict' mounts /proc with subset=pid. */
  readonly profile: 'strict' | 'default' | 'debug';
  /** Layers without which the spawn is refused. */
  readonly require: readonly Layer[];
  /** Layers to leave out (tests that prove each layer alone, `--no-sandbox`). */
  readonly disable: readonly Layer[];
  /** Of these, the ones that were wanted and cannot be had on this machine: reported as such. */
  readonly unavailable?: Readonly<Partial<Record<Layer, UnavailableLayer>>>;
  /** Fault injection for tests: fail the named setup step with this errno. null in production. */
  readonly faultStep: string | null;
  readonly faultErrno: number;
  /** cgroup parent below each hierarchy's own cgroup of the kernel, e.g. "clove/<boot>". */
  readonly cgroupParent: string;
  /** What fd 0 of the agent is: null = /dev/null, a number = a host fd that is handed over (dup), 'pipe' = a new pipe. */
  readonly stdin: null | number | 'pipe';
  /** Host fds the agent's stdout and stderr become, or 'pipe' for a new pipe whose read end is returned. */
  readonly stdout: number | 'pipe';
  readonly stderr: number | 'pipe';
  /** Whole setup must be over by then. */
  readonly setupTimeoutMs: number;
  /** A template process, or an agent that is forked from one; absent = a program is started. */
  readonly zygote?: SandboxZygote | null;
}

/**
 * `template`: the program calls libclove_zygote; its stdin is one end of openChannel(). It outlives its main process as long as
 * agents of it live. `forked`: argv, env and cwd are told to the interpreter in that process, nothing is executed.
 */
export type SandboxZygote =
  | { readonly role: 'template' }
  | {
      readonly role: 'forked';
      /** The other end of the template's channel; duplicated. */
      readonly channelFd: number;
      /** Host user and group of the template. */
      readonly uid: number;
      readonly gid: number;
      /** So many agents may be born ahead and wait to be one, until endSpares(uid); absent = none. */
      readonly spares?: number;
    };

export type ExitReason = 'exited' | 'signal' | 'oom' | 'timeout' | 'killed' | 'setup';

/** How it ended: assembled after the whole tree is gone and reaped. */
export interface SandboxExit {
  readonly reason: ExitReason;
  /** Exit status of the agent's main process, null when it was ended by a signal. */
  readonly exitCode: number | null;
  /** "SIGKILL" …, null when it exited. */
  readonly signal: string | null;
  /** Of the whole tree. */
  readonly cpuUserUs: number;
  readonly cpuSystemUs: number;
  /** Peak memory of the cgroup; of the largest process (ru_maxrss) where no memory cgroup could be had. */
  readonly memoryPeakBytes: number;
  readonly oomKills: number;
  /** How often pids.max refused a fork. */
  readonly pidsRefused: number;
  readonly cpuThrottledUs: number;
  /** Wall time from the agent's execve to its end. */
  readonly wallUs: number;
}

export interface SandboxStats {
  readonly memoryBytes: number;
  readonly memoryPeakBytes: number;
  readonly memoryLimitBytes: number | null;
  readonly cpuUsageUs: number;
  readonly cpuUserUs: number;
  readonly cpuSystemUs: number;
  readonly cpuThrottledUs: number;
  readonly cpuPeriods: number;
  readonly cpuThrottledPeriods: number;
  readonly pids: number;
  readonly pidsLimit: number | null;
  readonly oomKills: number;
  readonly processIds: readonly number[];
}

/** A command run inside a live sandbox (same namespaces, cgroups, uid, filter). */
export interface SandboxExecSpec {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly stdin: null | 'pipe';
  /** Ends the command's whole process group; null = no limit. */
  readonly timeoutMs: number | null;
}

export interface SandboxExecHandle {
  /** pid in the host's numbering. */
  readonly pid: number;
  /** Read ends owned by the caller; close them. */
  readonly stdinFd: number | null;
  readonly stdoutFd: number;
  readonly stderrFd: number;
  readonly exited: Promise<{
    exitCode: number | null;
    signal: string | null;
    timedOut: boolean;
    wallUs: number;
  }>;
  kill(signal?: NodeJS.Signals): void;
}

export interface OpenInsideOptions {
  readonly flags: 'read' | 'write' | 'append';
  /** Mode of a created file. */
  readonly mode: number;
}

/** A running sandbox. All methods may be called after its end; then they answer as for nothing there. */
export interface Sandbox {
  /** Name of its groups below cgroupParent: that of the spec, or, of one from a pool, its own. */
  readonly instance: string;
  /** Host pid of the agent's main process. */
  readonly pid: number;
  /** Host pid of PID 1 inside. */
  readonly initPid: number;
  readonly layers: readonly LayerReport[];
  readonly stdinFd: number | null;
  readonly stdoutFd: number | null;
  readonly stderrFd: number | null;
  /** µs from the call of launch() to the agent's execve, by stage. */
  readonly setupUs: Readonly<Record<string, number>>;
  /** Resolves once, when every process of the tree is gone and cgroups are removed. Never rejects. */
  readonly exited: Promise<SandboxExit>;
  /** Signal to the agent's main process (pidfd; a no-op after its end). */
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL to the whole tree at once; `reason` is what exited reports ('killed' or 'timeout'). */
  kill(reason?: 'killed' | 'timeout'): void;
  /** Resolves when every process stands still. @throws TIMEOUT (5 s; the sandbox runs on), CONFLICT (thawed meanwhile), NOT_FOUND (ended) */
  freeze(): Promise<void>;
  /** @throws TIMEOUT, CONFLICT (frozen meanwhile), NOT_FOUND (ended) */
  thaw(): Promise<void>;
  stats(): SandboxStats;
  exec(spec: SandboxExecSpec): Promise<SandboxExecHandle>;
  /**
   * Opens a path as the agent sees it, with the agent's own rights, never following a final link, never blocking.
   * Resolves to a host fd of a regular file. Rejects with PATH_REFUSED, NOT_FOUND, FORBIDDEN or IO.
   */
  openInside(path: string, options: OpenInsideOptions): Promise<number>;
}

/** What this machine can do; every field measured, not assumed. */
export interface HostCapabilities {
  readonly kernelRelease: string;
  readonly euid: number;
  readonly cgroup: 'v1' | 'v2' | 'hybrid' | 'none';
  readonly cgroupControllers: readonly string[];
  readonly cgroup2Path: string | null;
  readonly landlockAbi: number;
  readonly seccomp: boolean;
  readonly userNamespaces: boolean;
  /** Those of a sandbox with mounts in them: made by the kernel itself, only below a user namespace, or not at all. Tried once. */
  readonly namespaces: 'own' | 'user' | 'none';
  /** Why none; else null. */
  readonly namespacesErrno: string | null;
  /** pivot_root may be called in them. */
  readonly pivotRoot: boolean;
  /** False under the filters of containers: sandboxes are made with clone(2) then. */
  readonly clone3: boolean;
}

/** The sandboxes of a pool; the counts are since its first resize. */
export interface SandboxPoolState {
  /** The most that may wait. */
  readonly size: number;
  /** Host pids of PID 1 of those that wait for an agent, the next one first. */
  readonly waiting: readonly number[];
  /** As these, of the one that waits at its gate for the agent that is expected next; null = there is none. */
  readonly furnished: number | null;
  readonly made: number;
  readonly used: number;
  /** Complete, and never used: died, made of what the host no longer has, furnished for an agent that did not come, or one too many. */
  readonly discarded: number;
  /** Never complete. After three in a row no more are made until the next resize. */
  readonly failed: number;
}

// ---------------------------------------------------------------------------------------------------------------
// wire server

/** Who is at the other end of a listener, decided by the kernel when it creates the listener. */
export interface WireListenOptions {
  /** Opaque number handed back with every connection of this listener: 0 = shared operator socket, else the agent id.
   * Response headers carry the principal, or the connection id where it is 0; connection ids count from 2³⁰ (kernel/identity.ts). */
  readonly principal: number;
  /** Mode of the socket file. */
  readonly mode: number;
  /** Owner of the socket file; null = leave. */
  readonly uid: number | null;
  readonly gid: number | null;
  /** Peers whose uid (SO_PEERCRED) is not in the list are closed at once; null = any (agent sockets: the sandbox decides). */
  readonly allowUids: readonly number[] | null;
  readonly maxConnections: number;
}

export interface WirePeer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** One request that the wire thread could not answer itself. */
export interface WireRequest {
  readonly connection: number;
  /** Counts the requests of this connection; to be named in respond(). */
  readonly sequence: number;
  readonly opcode: number;
  /** Guarded: ≤ 1 MiB, valid UTF-8 where JSON, depth ≤ 64, ≤ 100 000 nodes, no duplicate or prototype keys. */
  readonly payload: string;
  /** Set instead of a usable payload when the guard refused it. */
  readonly refused: string | null;
}

export interface WireCounters {
  readonly connectionsOpen: number;
  readonly connectionsTotal: number;
  readonly connectionsRefused: number;
  readonly framesReceived: number;
  readonly framesSent: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly protocolErrors: number;
  /** Requests answered by the wire thread alone (NOOP). */
  readonly answeredNatively: number;
}

export interface WireEvents {
  onOpen(connection: number, principal: number, peer: WirePeer): void;
  /** A batch, in order per connection. Exactly one respond() per request is owed. */
  onRequests(requests: readonly WireRequest[]): void;
  onClose(connection: number): void;
}

/** A native epoll thread that owns every socket, frames, limits and NOOP; JavaScript sees only whole, guarded requests. */
export interface WireServer {
  /** Binds and listens; unlinks a stale file only when nobody answers there. Rejects ALREADY_RUNNING, IO. Returns a listener id. */
  listen(path: string, options: WireListenOptions): number;
  /** Stops listening, unlinks the file if it is still ours, closes the listener's connections. */
  closeListener(listener: number): void;
  /** Queues one response. Responses of a connection leave in the order of its requests, whatever the order of these calls. */
  respond(connection: number, requestSequence: number, opcode: number, payload: string | Uint8Array): void;
  closeConnection(connection: number): void;
  /** NOOPs answered natively for one connection since the last call (feeds per-agent statistics). */
  takeNativeCounts(connection: number): number;
  counters(): WireCounters;
  close(): void;
}
