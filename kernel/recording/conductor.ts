import { setTimeout as pause } from 'node:timers/promises';
import { type ErrorCode, errorToData } from '../../errors/index.ts';
import type { WireRequest } from '../../native/types.ts';
import type { Agent } from '../agents/agent.ts';
import { makePlan } from '../agents/plan.ts';
import type { Caller } from '../identity.ts';
import type { Kernel } from '../kernel.ts';
import { SYSCALL_BY_OPCODE } from '../syscalls/table.ts';
import { AgentReplay, type Divergence } from './agent-replay.ts';
import { hermetic } from './hermetic.ts';
import type { RecordedRun } from './load.ts';
import { outputHash, type RunEnd, recordedEnd } from './output-hash.ts';
import { stdoutSince } from './process-facts.ts';
import { Redactor } from './redactor.ts';
import { describe, endOf, firstDifference } from './run-end.ts';
import type { CallTap } from './tap.ts';

/** Frames still on their way when an agent is gone. */
const STRAGGLERS_MS = 1000;
/** Faults of this machine, which say nothing about the agent. */
const MACHINE_FAULTS: readonly ErrorCode[] = [
  'SANDBOX_UNAVAILABLE',
  'SETUP_FAILED',
  'OVERLOAD',
  'IO',
  'INTERNAL',
];

export interface ConductorOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly stallMs: number;
  readonly compareOutput: boolean;
}

export interface RunReport {
  readonly agent: number;
  readonly name: string;
  readonly incarnation: number;
  /** Of the recording. */
  readonly calls: number;
  readonly matched: number;
  /** Of those, executed again and answered as recorded. */
  readonly executed: number;
  /** What was not as it was recorded, and did not count as divergence. */
  readonly notes: readonly string[];
  readonly outputHash: string;
}

/** A replay under way. */
interface Playing {
  readonly replay: AgentReplay;
  agent: Agent | null;
  /** Every recorded call was made and answered. */
  readonly complete: PromiseWithResolvers<void>;
  progressAtMs: number;
}

/** Starts recorded agents in a private kernel, answers their calls from the recording, and watches how they end. */
export class Conductor implements CallTap {
  readonly reports: RunReport[] = [];
  readonly #kernel: Kernel;
  readonly #options: ConductorOptions;
  readonly #redactor: Redactor;
  readonly #playing = new Map<number, Playing>();
  #divergence: Divergence | null = null;
  #stopped = false;

  constructor(kernel: Kernel, redactNames: readonly string[], options: ConductorOptions) {
    this.#kernel = kernel;
    this.#options = options;
    this.#redactor = new Redactor(redactNames);
    this.#redactor.learnEnvironment(options.env);
    kernel.dispatcher.tap = this;
  }

  get divergence(): Divergence | null {
    return this.#divergence;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Ends every agent at once; none is started any more. */
  stop(): void {
    this.#stopped = true;
    for (const { replay, agent, complete } of this.#playing.values()) {
      replay.end();
      if (agent !== null) void this.#kernel.supervisor.kill(agent, 0, 0);
      complete.resolve();
    }
  }

  /** Whether the end of a run is compared: only one that came by itself is the agent's own doing. */
  comparable({ exit }: RecordedRun): boolean {
    return this.#options.compareOutput && exit?.reason === 'exited';
  }

  // ---- what the dispatcher tells

  begin(request: WireRequest, _caller: Caller, agent: Agent | null): boolean {
    if (agent === null) return false;
    return this.#playing.get(agent.id)?.replay.begin(request) ?? true;
  }

  answered(request: WireRequest, payload: string | Uint8Array): boolean {
    const text = typeof payload === 'string' ? payload : Buffer.from(payload).toString('utf8');
    for (const { replay } of this.#playing.values()) replay.answered(request, text);
    // A replayed call is answered when its turn comes; an operator's is none of this.
    return false;
  }

  // ---- one agent

  /** Replays one incarnation; resolves when its process is gone. Divergences are kept. @throws what this machine cannot do */
  async run(run: RecordedRun): Promise<void> {
    const notes: string[] = [];
    const playing = this.#play(run);
    this.#playing.set(run.agent, playing);
    try {
      const agent = await this.#start(run, notes);
      if (agent === null) return;
      playing.agent = agent;
      if (this.#stopped) void this.#kernel.supervisor.kill(agent, 0, 0);
      const end = await this.#follow(run, playing, agent);
      this.#report(run, playing, end, notes);
    } finally {
      playing.replay.end();
      this.#playing.delete(run.agent);
    }
  }

  #play(run: RecordedRun): Playing {
    const complete = Promise.withResolvers<void>();
    const playing: Playing = {
      agent: null,
      complete,
      progressAtMs: performance.now(),
      replay: new AgentReplay({
        run,
        redactor: this.#redactor,
        table: SYSCALL_BY_OPCODE,
        deliver: (request, answer) => this.#kernel.dispatcher.deliver(request, answer),
        onDivergence: (divergence) => this.#diverge(divergence),
        onComplete: () => complete.resolve(),
        onProgress: () => {
          playing.progressAtMs = performance.now();
        },
      }),
    };
    return playing;
  }

  #diverge(divergence: Divergence): void {
    this.#divergence ??= divergence;
    this.stop();
  }

  async #start(run: RecordedRun, notes: string[]): Promise<Agent | null> {
    const { supervisor, launcher, agents } = this.#kernel;
    try {
      const request = hermetic(run, this.#options.env, notes);
      // The same id as then: it is in the agent's environment and in every frame it gets.
      agents.continueAt(run.agent);
      const { agent } = await supervisor.spawn({
        name: run.name,
        parentId: 0,
        plan: (agentId, name) =>
          makePlan(request, {
            agentId,
            name,
            sandboxing: 'required',
            stagingFolder: launcher.stagingFolderOf(agentId),
            socketPath: launcher.socketPathOf(agentId),
            sdkFolder: () => launcher.sdkFolder(),
            openMounts: (mounts) => launcher.openMounts(mounts),
          }),
      });
      return agent;
    } catch (error) {
      if (this.#stopped) return null;
      if (MACHINE_FAULTS.includes(errorToData(error).code)) {
        this.stop();
        throw error;
      }
      this.#divergeAtEnd(run, 'start', `the agent could not be started: ${errorToData(error).message}`);
      return null;
    }
  }

  /** Until the process is gone. */
  async #follow(run: RecordedRun, playing: Playing, agent: Agent): Promise<RunEnd | null> {
    const { supervisor } = this.#kernel;
    const ended = supervisor.waitForEnd(agent, null, new AbortController().signal);
    let gone = false;
    void ended.then(() => {
      gone = true;
    });
    const endsByItself = run.exit?.reason === 'exited' || run.exit?.reason === 'signal';
    if (playing.replay.isComplete) playing.complete.resolve();
    playing.progressAtMs = performance.now();
    const watch = setInterval(() => this.#watch(run, playing, endsByItself), 100);
    try {
      await Promise.race([ended, playing.complete.promise]);
      if (!gone && !endsByItself && !this.#stopped) await supervisor.kill(agent, 0, 0);
      await ended;
    } finally {
      clearInterval(watch);
    }
    if (this.#stopped) return null;
    if (!playing.replay.isComplete) await Promise.race([playing.complete.promise, pause(STRAGGLERS_MS)]);
    if (playing.replay.missing('missing', `ended (${describe(endOf(agent, null))})`)) return null;
    const stdout = stdoutSince(agent, 0);
    const end = endOf(agent, stdout === null ? null : this.#redactor.redact(stdout).text);
    if (endsByItself) this.#compareEnds(run, playing, end);
    return end;
  }

  #watch(run: RecordedRun, playing: Playing, endsByItself: boolean): void {
    const { replay } = playing;
    if (replay.isComplete && !endsByItself) return;
    const idleMs = performance.now() - playing.progressAtMs;
    const limitMs = this.#options.stallMs + 2 * replay.expectedMs;
    if (idleMs < limitMs || this.#stopped) return;
    if (replay.missing('stalled', `did not come within ${Math.round(limitMs)} ms`)) return;
    const how = `the agent did not end within ${Math.round(limitMs)} ms, as it did in the recording`;
    this.#divergeAtEnd(run, 'stalled', how, replay.matched);
  }

  #compareEnds(run: RecordedRun, playing: Playing, actual: RunEnd): void {
    const recorded = recordedEnd(run);
    if (recorded === null || this.#stopped) return;
    if (describe(recorded) !== describe(actual)) {
      this.#divergeAtEnd(
        run,
        'exit',
        `the agent ended otherwise: ${describe(actual)}, in the recording ${describe(recorded)}`,
        playing.replay.matched,
      );
    } else if (this.comparable(run) && recorded.stdout !== null && recorded.stdout !== actual.stdout) {
      const [then = '', now = ''] = firstDifference(recorded.stdout, actual.stdout ?? '');
      this.#divergeAtEnd(run, 'output', 'stdout is not as recorded', playing.replay.matched, [
        { path: '/stdout', recorded: then, actual: now },
      ]);
    }
  }

  #divergeAtEnd(
    { agent, name, incarnation }: RecordedRun,
    kind: Divergence['kind'],
    message: string,
    matched = 0,
    differences: Divergence['differences'] = [],
  ): void {
    this.#diverge({
      kind,
      agent,
      name,
      incarnation,
      message,
      matched,
      call: null,
      nearest: null,
      differences,
    });
  }

  #report(run: RecordedRun, { replay }: Playing, end: RunEnd | null, notes: readonly string[]): void {
    // Output that was not kept then cannot count now.
    const comparedEnd =
      end !== null && run.exit?.stdout === null
        ? { ...end, stdout: null }
        : this.comparable(run)
          ? end
          : null;
    this.reports.push({
      agent: run.agent,
      name: run.name,
      incarnation: run.incarnation,
      calls: run.calls.length,
      matched: replay.matched,
      executed: replay.executed,
      notes,
      outputHash: outputHash(replay.doneCalls, this.comparable(run) ? comparedEnd : null),
    });
  }
}
