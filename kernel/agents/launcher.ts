import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { Sandbox, SandboxMount, SandboxSpec, WireServer } from '../../native/types.ts';
import type { Agent, LaunchPlan } from './agent.ts';
import { type Attachment, launchAttached } from './attachment.ts';
import { InterpreterCopies } from './interpreter-copies.ts';
import { feedStdin, type OutputReader } from './output.ts';
import type { SandboxPool } from './sandbox-pool.ts';
import { stageSdk } from './sdk-stage.ts';
import type { Users } from './uid-pool.ts';
import type { Zygotes } from './zygotes.ts';

/** Connections one agent may hold; each can hold back some 20 MB of answers in the kernel by not reading them. */
export const AGENT_CONNECTIONS = 16;

export interface LauncherOptions {
  readonly bootId: string;
  /** Folder of this boot, 0700. */
  readonly bootDirectory: string;
  /** Where copies of interpreters are kept that only their owner can read. */
  readonly interpreterFolder: string;
  readonly cgroupParent: string;
  readonly users: Users;
  readonly output: OutputReader;
  readonly wire: () => Pick<WireServer, 'listen' | 'closeListener'>;
  readonly launch: (spec: SandboxSpec) => Promise<Sandbox>;
  readonly zygotes: Zygotes;
  readonly sandboxPool: Pick<SandboxPool, 'expect' | 'dismiss'>;
}

/** Longer than a short agent takes from being asked for to its end. */
const QUIET_MS = 10;

/** What an agent holds from spawn to its end, through all incarnations. */
interface Place {
  readonly agentId: number;
  readonly uid: number;
  readonly listener: number;
  incarnations: number;
  /** The world it is in; null = none. */
  attachment: Attachment | null;
  /** Variables of that world. */
  env: Readonly<Record<string, string>>;
}

export interface Launched {
  readonly sandbox: Sandbox;
  /** Resolves when all output was read. */
  readonly drained: Promise<unknown>;
  /** It has ended: what is left of its output is read. */
  takeRestOfOutput(): void;
  /** Gives up on output that does not end. */
  abandonOutput(): void;
}

/** Gives an agent its user, its socket and its sandbox, and takes them back. Names are made from ids, never from the request. */
export class Launcher {
  readonly #options: LauncherOptions;
  readonly #places = new Map<number, Place>();
  /** What is left to take away of agents that are gone. */
  readonly #leaving = new Map<number, () => void>();
  #sdk: Promise<string> | null = null;
  readonly #interpreters: InterpreterCopies;
  #commands = 0;
  #lastId = 0;
  /** When the last agent came. */
  #openedMs = Number.NEGATIVE_INFINITY;
  #quietTimer: NodeJS.Timeout | null = null;
  /** The place of the agent that comes next. */
  #ahead: Place | null = null;
  #closed = false;

  constructor(options: LauncherOptions) {
    this.#options = options;
    this.#interpreters = new InterpreterCopies(options.interpreterFolder);
  }

  socketPathOf(agentId: number): string {
    return path.join(this.#options.bootDirectory, `a${agentId}.sock`);
  }

  stagingFolderOf(agentId: number): string {
    return path.join(this.#options.bootDirectory, `a${agentId}`);
  }

  /** The staged SDK; written once per boot, when the first Node agent wants it. */
  sdkFolder(): Promise<string> {
    if (this.#sdk === null) {
      const folder = path.join(this.#options.bootDirectory, 'sdk');
      mkdirSync(folder, { recursive: true, mode: 0o755 });
      this.#sdk = stageSdk(folder).then(() => folder);
      this.#sdk.catch(() => {
        this.#sdk = null;
      });
    }
    return this.#sdk;
  }

  /** As every user can read them. @throws SETUP_FAILED */
  openMounts(mounts: readonly SandboxMount[]): Promise<readonly SandboxMount[]> {
    return this.#interpreters.open(mounts);
  }

  /** Once per agent; of one that is open already nothing changes. @throws OVERLOAD, IO */
  open(agentId: number): void {
    if (this.#places.has(agentId)) return;
    // Who comes back under the id of one that has just gone needs its socket and its folder.
    this.#leaving.get(agentId)?.();
    const ahead = this.#ahead;
    this.#ahead = null;
    if (ahead !== null && ahead.agentId !== agentId) this.#giveBack(ahead);
    const isPrepared = ahead?.agentId === agentId;
    this.#places.set(agentId, isPrepared ? ahead : this.#makePlace(agentId));
    this.#lastId = Math.max(this.#lastId, agentId);
    const nowMs = performance.now();
    const isOneByOne = nowMs - this.#openedMs > 2 * QUIET_MS;
    this.#openedMs = nowMs;
    // The next agent's socket is made while this one is being set up: binding is a tenth of a millisecond. Where agents come one
    // by one, there is time for that when this one has been answered for.
    if (!isOneByOne) setImmediate(() => this.#prepare());
  }

  /** When no agent has come for a while: whoever asked for the last one has been answered. */
  #whenQuiet(work: () => void): void {
    if (this.#quietTimer !== null) clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => {
      this.#quietTimer = null;
      work();
    }, QUIET_MS).unref();
  }

  #prepare(): void {
    const agentId = this.#lastId + 1;
    if (this.#closed || this.#ahead !== null || this.#places.has(agentId)) return;
    try {
      this.#ahead = this.#makePlace(agentId);
    } catch {
      // No room for one more now: open() will say so to whoever asks for it.
    }
  }

  #makePlace(agentId: number): Place {
    const uid = this.#options.users.take();
    try {
      const listener = this.#options.wire().listen(this.socketPathOf(agentId), {
        principal: agentId,
        // The folder is the kernel's alone; inside, only the agent's user reaches the bound file.
        mode: 0o600,
        uid: this.#options.users.exclusive ? uid : null,
        gid: this.#options.users.exclusive ? uid : null,
        allowUids: null,
        maxConnections: AGENT_CONNECTIONS,
      });
      return { agentId, uid, listener, incarnations: 0, attachment: null, env: {} };
    } catch (error) {
      this.#options.users.release(uid);
      throw error;
    }
  }

  #giveBack(place: Place): void {
    this.#options.sandboxPool.dismiss(place.uid);
    this.#options.wire().closeListener(place.listener);
    this.#options.users.release(place.uid);
  }

  /** From here on every incarnation of the agent is in a world. */
  attach(agentId: number, attachment: Attachment): void {
    const place = this.#places.get(agentId);
    if (place === undefined) throw new Error(`agent ${agentId} has no place`);
    place.attachment = attachment;
  }

  /** Variables that an agent has of its world. */
  attachedEnv(agentId: number): Readonly<Record<string, string>> {
    return this.#places.get(agentId)?.env ?? {};
  }

  /** One incarnation. @throws SANDBOX_UNAVAILABLE, EXEC_FAILED, IO */
  async launch(agent: Agent): Promise<Launched> {
    const place = this.#places.get(agent.id);
    if (place === undefined) throw new Error(`agent ${agent.id} has no place`);
    place.incarnations += 1;
    const { template = null } = agent.plan;
    const spec: SandboxSpec = {
      ...this.#specOf(agent.plan, place.uid, `${this.#options.bootId}-${agent.id}-${place.incarnations}`),
      socketPath: this.socketPathOf(agent.id),
      hostname: `clove-${agent.id}`,
    };
    const { sandbox, env } = await launchAttached(
      template === null
        ? this.#options.launch
        : async (completed) => {
            const { sandbox: started, ...from } = await this.#options.zygotes.launch(completed, template);
            agent.startedFrom = from;
            return started;
          },
      spec,
      agent,
      place.attachment,
    );
    place.env = env;
    if (template === null && place.attachment === null) this.#expectOneLike(spec, agent.id);
    const streams = [
      sandbox.stdoutFd === null ? null : this.#options.output.drain(sandbox.stdoutFd, agent.stdout),
      sandbox.stderrFd === null ? null : this.#options.output.drain(sandbox.stderrFd, agent.stderr),
    ];
    if (sandbox.stdinFd !== null) feedStdin(sandbox.stdinFd, agent.plan.stdin ?? '');
    return {
      sandbox,
      drained: Promise.all(streams.map((stream) => stream?.ended)),
      takeRestOfOutput: () => {
        for (const stream of streams) stream?.takeRest();
      },
      abandonOutput: () => {
        for (const stream of streams) stream?.destroy();
      },
    };
  }

  /** When this agent has been answered for: what it has of its own, the next one would not have. */
  #expectOneLike(spec: SandboxSpec, agentId: number): void {
    const own = this.stagingFolderOf(agentId);
    this.#whenQuiet(() => {
      this.#prepare();
      const next = this.#ahead;
      if (this.#closed || next === null || spec.mounts.some(({ source }) => source.startsWith(own))) return;
      this.#options.sandboxPool.expect({
        ...spec,
        argv: ['-'],
        env: {},
        stdin: null,
        stdout: 'pipe',
        stderr: 'pipe',
        uid: next.uid,
        gid: next.uid,
        socketPath: this.socketPathOf(next.agentId),
        hostname: `clove-${next.agentId}`,
      });
    });
  }

  /** A sandbox for one command of an operator: no socket, no name, a user of its own. Its output is the caller's to read. */
  async launchCommand(plan: LaunchPlan, attachment: Attachment | null = null): Promise<Sandbox> {
    this.#commands += 1;
    const uid = this.#options.users.take();
    try {
      const { sandbox } = await launchAttached(
        this.#options.launch,
        {
          ...this.#specOf(plan, uid, `${this.#options.bootId}-x${this.#commands}`),
          socketPath: null,
          hostname: 'clove-exec',
        },
        { id: 0, name: plan.name },
        attachment,
      );
      void sandbox.exited.then(() => this.#options.users.release(uid));
      return sandbox;
    } catch (error) {
      this.#options.users.release(uid);
      throw error;
    }
  }

  /** After the last incarnation is wholly gone. */
  close(agentId: number): void {
    const place = this.#places.get(agentId);
    if (place === undefined) return;
    this.#places.delete(agentId);
    void place.attachment?.detach();
    // After this turn: whoever waits for the agent's end need not wait for its socket to be taken away as well.
    const leave = (): void => {
      if (!this.#leaving.delete(agentId)) return;
      this.#giveBack(place);
      try {
        rmSync(this.stagingFolderOf(agentId), { recursive: true, force: true });
      } catch {
        // In use, or no descriptor left: it goes with the folder of this boot.
      }
    };
    this.#leaving.set(agentId, leave);
    setImmediate(leave);
  }

  /** No agent comes any more. */
  shutDown(): void {
    this.#closed = true;
    if (this.#quietTimer !== null) clearTimeout(this.#quietTimer);
    if (this.#ahead !== null) this.#giveBack(this.#ahead);
    this.#ahead = null;
  }

  #specOf(plan: LaunchPlan, uid: number, instance: string): Omit<SandboxSpec, 'socketPath' | 'hostname'> {
    return {
      ...plan.sandbox,
      instance,
      uid,
      gid: uid,
      stdin: plan.stdin === null ? null : 'pipe',
      stdout: 'pipe',
      stderr: 'pipe',
      cgroupParent: this.#options.cgroupParent,
    };
  }
}
