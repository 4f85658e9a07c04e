/** A scenario whose trials are fleets: several agents under one kernel, and an oracle that watches them from outside. */
import type { LayerReport } from '../../native/types.ts';
import type {
  CloveClient,
  ReceivedMessage,
  SyscallRequest,
  SyscallResponse,
} from '../../sdk/typescript/index.ts';
import type { Luck } from '../../worlds/luck/streams.ts';
import type { GridAxes } from '../grid.ts';
import type { Presentation, TrialParameters } from '../types.ts';
import type { Judgement, JudgeRequest } from './judge.ts';
import type { CheckResult, Evidence, FleetMark } from './record.ts';

type SpawnRequest = SyscallRequest<'SPAWN'>;
export type AgentLimits = NonNullable<SpawnRequest['limits']>;
export type AgentPermissions = NonNullable<SpawnRequest['permissions']>;
export type CgroupFigures = SyscallResponse<'METRICS_CGROUP'>['metrics'];
export type AgentExitReport = SyscallResponse<'WAIT'>;

/** The program of a role, in any language: a script (interpreter by its extension), or argv as it is. */
export type Program =
  | { readonly script: string | URL; readonly args?: readonly string[] }
  | { readonly command: readonly string[] };

export interface RestartRule {
  readonly policy: 'never' | 'always' | 'on-failure';
  /** Restarts allowed within the window; one more and the agent is given up. Default 5. */
  readonly maxRestarts?: number;
  /** Default 300. */
  readonly windowSeconds?: number;
  /** First pause; doubles, with full jitter. Default 100 ms. */
  readonly backoffMs?: number;
  readonly backoffMaxMs?: number;
}

/** What agents of one kind run and may do. */
export interface Role {
  /** For the reader: what it is there for. */
  readonly title: string;
  readonly program: Program;
  /** Default 1; then the agent has the name of its role, else `<role>-1`, `<role>-2` … */
  readonly count?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly limits: AgentLimits;
  /** Default: the level `default`, all inside its own sandbox. */
  readonly permissions?: AgentPermissions;
  readonly restart?: RestartRule;
  /** Files of the host inside, read-only. */
  readonly mounts?: readonly { readonly source: string; readonly target: string }[];
  /** Longest life of one incarnation. */
  readonly timeoutMs?: number;
}

/** Something done to agents from outside, at a moment drawn from the seed. */
export interface FleetFault {
  /** kill = SIGKILL from outside, as the machine's own out-of-memory killer would; pause = frozen for `forMs`. */
  readonly kind: 'kill' | 'pause';
  readonly role: string;
  /** How many of the role's agents, drawn from the seed. */
  readonly count: number;
  /** ms after the fleet was started. */
  readonly betweenMs: readonly [number, number];
  readonly forMs?: number;
}

/** What a trial may take. More than that is an error before anything runs, or ends the trial. */
export interface FleetBudgets {
  readonly wallMs: number;
  /** Sum of the agents' memory limits. */
  readonly memoryBytes: number;
  readonly agents: number;
}

/** One trial, before anything of it runs. */
export interface Site {
  readonly params: TrialParameters;
  readonly seed: number;
  readonly luck: Luck;
  /** Scratch on the host, of this trial alone; readable by every user, removed afterwards. */
  readonly folder: string;
  /** False: the agents run without walls and limits, to show what isolation is for. */
  readonly isProtected: boolean;
}

/** What stands beside the kernel before it starts: servers, canaries, ground truth. */
export interface Outside<Facts> {
  readonly facts: Facts;
  /** Which model the kernel offers. Default: none. */
  readonly llm?: {
    readonly provider: 'mock' | 'openai-compatible';
    readonly baseUrl?: string;
    readonly model?: string;
    readonly maxConcurrent?: number;
    readonly maxQueuedPerCaller?: number;
    /** Name of the variable with the key for it. */
    readonly apiKeyEnv?: string;
    readonly mockSeed?: number;
    readonly mockLatencyMs?: number;
  };
  close?(): Promise<void> | void;
}

/** A scenario of this kind: `scenarios/<name>/scenario.ts` exports one as default. */
export interface FleetScenario<Facts = unknown> {
  readonly kind: 'fleet';
  readonly name: string;
  readonly title: string;
  readonly description: string;
  /** Changes whenever results may change. Part of every trial's key. */
  readonly version: string;
  readonly roles: Readonly<Record<string, Role>>;
  /** Axes of the grid; every combination is a trial. Default: one trial. */
  readonly variants?: GridAxes;
  /** Trials per variant, each with a seed of its own. Default 1. */
  readonly seeds?: number;
  readonly budgets: FleetBudgets;
  readonly faults?: readonly FleetFault[];
  /** Names of options for `--set`, with help. They reach the oracle as parameters of the trial. */
  readonly settings?: Readonly<Record<string, string>>;
  /** How to read the metrics; the first leads. */
  readonly metrics: readonly (Presentation['metrics'][number] & { readonly higherIsBetter: boolean })[];
  /**
   * True: what its agents try is harmless also without walls and limits, so that the scenario may run unprotected
   * (`--compare process`) to show what its checks are worth.
   */
  readonly harmlessUnprotected?: boolean;
  outside?(site: Site): Promise<Outside<Facts>> | Outside<Facts>;
  /** Starts the agents, watches, and checks. Runs outside every sandbox, as an operator of the kernel. */
  oracle(fleet: Fleet<Facts>): Promise<void>;
}

export interface FleetAgent {
  readonly id: number;
  readonly name: string;
  readonly role: string;
  /** Of its first incarnation, on the host. */
  readonly pid: number;
  readonly layers: readonly LayerReport[];
}

/** An event of the kernel, at its time in the trial. */
export interface FleetEvent {
  readonly type: string;
  readonly customType: string | null;
  /** Name of the agent it is about, else null. */
  readonly agent: string | null;
  readonly data: Readonly<Record<string, unknown>>;
  readonly atMs: number;
}

export interface Waiting {
  /** Default 15 000. */
  readonly timeoutMs?: number;
  /** For the message when it does not come. */
  readonly what?: string;
}

/** What an oracle saw for one check. `holds: null` = it could not be measured here; `observed` says why. */
export interface Observation {
  readonly holds: boolean | null;
  readonly observed: string;
  readonly evidence?: readonly Evidence[];
  readonly layer?: string | null;
}

/** What an oracle has in hand. All times are ms since the start of the trial. */
export interface Fleet<Facts = unknown> extends Site {
  readonly facts: Facts;
  /** An operator's client of the trial's kernel: everything is allowed. */
  readonly client: CloveClient;
  /** Aborted when the budget of time is spent or the run is stopped. */
  readonly signal: AbortSignal;
  readonly agents: readonly FleetAgent[];
  nowMs(): number;
  /** Starts the agents of these roles (default: all), in the order of their declaration, and the faults after that. */
  start(...roles: string[]): Promise<readonly FleetAgent[]>;
  /** By name. @throws NOT_FOUND */
  agent(name: string): FleetAgent;
  /** Every event of the kernel so far. */
  readonly events: readonly FleetEvent[];
  /** The first event, past or to come, that fits. @throws TIMEOUT */
  event(fits: (event: FleetEvent) => boolean, waiting?: Waiting): Promise<FleetEvent>;
  /** How an agent ended for good. @throws TIMEOUT */
  exit(agent: string, waiting?: Waiting): Promise<AgentExitReport>;
  /** Sends to an agent; it knows the oracle by the name `oracle`. */
  send(agent: string, message: unknown): Promise<void>;
  /** To all agents at one moment: no time of a world passes before the last of them has it. */
  broadcast(message: unknown): Promise<void>;
  /** Messages to `oracle` that no `ask` waits for. */
  readonly messages: readonly ReceivedMessage[];
  /** The first message to `oracle`, past or to come, that fits. @throws TIMEOUT */
  message(fits: (message: ReceivedMessage) => boolean, waiting?: Waiting): Promise<ReceivedMessage>;
  /**
   * Sends `{ ask: n, ...body }` and waits for `{ answer: n, … }` from that agent. `ms` is the time of the way there and back,
   * seen from here. @throws TIMEOUT
   */
  ask(
    agent: string,
    body: Readonly<Record<string, unknown>>,
    waiting?: Waiting,
  ): Promise<{ readonly answer: Readonly<Record<string, unknown>>; readonly ms: number }>;
  /** Counters of an agent's cgroup; null where it has none (any more). */
  cgroup(agent: string): Promise<CgroupFigures | null>;
  /** Waits until `condition` gives something. @throws TIMEOUT */
  until<Value>(
    condition: () => Promise<Value | null | false> | Value | null | false,
    waiting?: Waiting,
  ): Promise<Value>;
  /** Freezes and ends the whole fleet, and has the work of one agent judged out of its reach. docs/judging.md */
  judge(request: JudgeRequest): Promise<Judgement>;
  /** One assertion. What `observe` throws is what was observed, and the check failed. */
  check(
    id: string,
    asserted: string,
    observe: () => Promise<Observation> | Observation,
  ): Promise<CheckResult>;
  /** A figure of the trial at a dotted path: "latency.p99Ms". */
  metric(path: string, value: number | null): void;
  fact(name: string, value: string | number | boolean | null): void;
  /** A point of a curve. */
  point(series: string, unit: string, value: number, atMs?: number): void;
  mark(kind: FleetMark['kind'], text: string, agent?: string): void;
  log(line: string): void;
}
