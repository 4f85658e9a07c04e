import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import path from 'node:path';
import type { Logger } from 'pino';
import { CloveError, errorToData, isCloveError } from '../../errors/index.ts';
import {
  endSpares,
  layersOffInTemplate,
  openChannel,
  stageZygote,
  ZYGOTE_OPEN_FILES,
  ZYGOTE_READY,
  ZYGOTE_TARGET,
  zygoteProgram,
} from '../../native/index.ts';
import type { Layer, Sandbox, SandboxSpec } from '../../native/types.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import type { TemplateSpec, TemplateUse } from './template-plan.ts';
import type { Users } from './uid-pool.ts';

/** Importing scientific libraries from a cold disk takes its time. */
const READY_MS = 120_000;
const MAX_TEMPLATES = 16;
/** Agents born ahead, of each template: two that end together are replaced together. */
export const MAX_SPARES = 2;
/** Kinds of template that something is known of: those that live, and why others could not be had. */
const MAX_ENTRIES = 64;
const BACKOFF_MS = 1000;
const BACKOFF_CAP_MS = 60_000;
const LOG_BYTES = 4096;
const UNKILLABLE_MS = 10_000;

/** Everything but Landlock, which would forbid agents their mounts, and the entries of /proc that agents cover themselves. */
const REQUIRED: readonly Layer[] = [
  'uid',
  'pidns',
  'mntns',
  'netns',
  'ipcns',
  'utsns',
  'cgroupns',
  'root_ro',
  'dev_min',
  'sys_hidden',
  'caps',
  'nnp',
  'seccomp',
  'fds',
  'session',
  'pdeath',
];

export interface ZygotesOptions {
  readonly bootId: string;
  readonly bootDirectory: string;
  readonly cgroupParent: string;
  readonly users: Users;
  readonly log: Logger;
  readonly launch: (spec: SandboxSpec) => Promise<Sandbox>;
  readonly readyMs?: number;
  /** Agents of each template that may be born ahead. */
  readonly spares?: number;
}

interface Template {
  readonly spec: TemplateSpec;
  readonly sandbox: Sandbox;
  readonly uid: number;
  /** Where requests go; null = it takes none any more. */
  channel: number | null;
  usedAtMs: number;
}

/** What is known of one kind of template: the process, or why there is none. */
interface Entry {
  starting: Promise<Template> | null;
  template: Template | null;
  failures: number;
  notBeforeMs: number;
  reason: string;
}

/** How an agent was started in the end. */
export interface StartedFrom {
  readonly sandbox: Sandbox;
  /** From a template; false = as a program of its own, for `reason`. */
  readonly used: boolean;
  readonly reason: string | null;
}

/**
 * Template processes, started when the first agent wants one, one per TemplateSpec. An agent that cannot be forked is started as
 * a program, and is told why. A template that ended is started anew, with growing pauses when it fails.
 */
export class Zygotes {
  readonly #options: ZygotesOptions;
  readonly #entries = new Map<string, Entry>();
  /** Processes that have not ended yet, also those that take no requests any more. */
  readonly #living = new Set<Template>();
  #staged: Promise<string> | null = null;
  #gid: number | null = null;
  #count = 0;
  #closed = false;

  constructor(options: ZygotesOptions) {
    this.#options = options;
  }

  /** @throws as launch() of native does, when the agent can be started in neither way */
  async launch(spec: SandboxSpec, use: TemplateUse): Promise<StartedFrom> {
    const asProgram = async (reason: string): Promise<StartedFrom> => ({
      sandbox: await this.#options.launch(spec),
      used: false,
      reason,
    });
    if (use.spec === null) return asProgram(use.reason);
    if (spec.world != null) return asProgram('it is in a world');
    let template: Template;
    try {
      template = await this.#ready(use.spec);
    } catch (error) {
      return asProgram(errorToData(error).message);
    }
    const { channel } = template;
    if (channel === null) return asProgram('the template has just ended');
    try {
      const sandbox = await this.#options.launch({
        ...spec,
        argv: use.argv,
        zygote: {
          role: 'forked',
          channelFd: channel,
          uid: template.uid,
          gid: this.#groupId(),
          spares: this.#options.spares ?? 0,
        },
      });
      template.usedAtMs = performance.now();
      return { sandbox, used: true, reason: null };
    } catch (error) {
      if (!isCloveError(error) || error.code !== 'SANDBOX_UNAVAILABLE') throw error;
      const { stage, errno } = error.details ?? {};
      if (stage === 'clone' && errno !== 'EAGAIN') this.#retire(template);
      this.#options.log.warn({ error: errorToData(error) }, 'an agent could not be forked from its template');
      return asProgram(error.message);
    }
  }

  /** Processes that take requests, for tests and reports. */
  get size(): number {
    return [...this.#living].filter(({ channel }) => channel !== null).length;
  }

  /** After the last agent. Nothing of a template is left then. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#entries.values()].map(({ starting }) => starting));
    const living = [...this.#living];
    for (const template of living) {
      this.#retire(template);
      template.sandbox.kill();
    }
    const cut = Promise.withResolvers<void>();
    const timer = setTimeout(cut.resolve, UNKILLABLE_MS);
    // A process that even SIGKILL does not end must not keep the kernel from stopping.
    await Promise.race([Promise.all(living.map(({ sandbox }) => sandbox.exited)), cut.promise]);
    clearTimeout(timer);
    if (this.#gid !== null) this.#options.users.release(this.#gid);
    this.#gid = null;
  }

  async #ready(spec: TemplateSpec): Promise<Template> {
    if (this.#closed) throw new CloveError('CANCELLED', 'the kernel is stopping');
    if (!this.#options.users.exclusive) {
      throw new CloveError('SANDBOX_UNAVAILABLE', 'templates need a kernel that is root');
    }
    const key = JSON.stringify(spec);
    if (!this.#entries.has(key)) this.#forgetOld();
    const entry = this.#entries.getOrInsertComputed(key, () => ({
      starting: null,
      template: null,
      failures: 0,
      notBeforeMs: 0,
      reason: '',
    }));
    if (entry.template !== null && entry.template.channel !== null) return entry.template;
    entry.template = null;
    if (entry.starting === null) {
      if (performance.now() < entry.notBeforeMs) throw new CloveError('SANDBOX_UNAVAILABLE', entry.reason);
      entry.starting = this.#start(spec);
      entry.starting
        .then(
          (template) => {
            entry.template = template;
            entry.failures = 0;
          },
          (error: unknown) => {
            entry.reason = `no template: ${errorToData(error).message}`;
            entry.notBeforeMs =
              performance.now() + Math.min(BACKOFF_CAP_MS, BACKOFF_MS * 2 ** entry.failures);
            entry.failures += 1;
            this.#options.log.warn({ error: errorToData(error), runtime: spec.runtime }, 'a template failed');
          },
        )
        .finally(() => {
          entry.starting = null;
        });
    }
    return entry.starting;
  }

  /** Those without a process, the oldest first: each declaration may differ from the last. */
  #forgetOld(): void {
    for (const [key, { starting, template }] of this.#entries) {
      if (this.#entries.size < MAX_ENTRIES) return;
      if (starting === null && (template === null || template.channel === null)) this.#entries.delete(key);
    }
  }

  /** How many kinds are known, for tests. */
  get known(): number {
    return this.#entries.size;
  }

  async #start(spec: TemplateSpec): Promise<Template> {
    this.#makeRoom();
    const { users, launch, bootId, cgroupParent } = this.#options;
    const staged = await this.#stage();
    const gid = this.#groupId();
    const uid = users.take();
    const program = zygoteProgram(spec.runtime, spec.executable, spec, spec.flags);
    const { ours, theirs } = openChannel();
    this.#count += 1;
    let sandbox: Sandbox;
    const off = layersOffInTemplate();
    try {
      sandbox = await launch({
        instance: `${bootId}-t${this.#count}`,
        hostname: `clove-template-${this.#count}`,
        argv: program.argv,
        env: { ...spec.env, ...program.env },
        cwd: '/',
        uid,
        gid,
        limits: {
          ...DEFAULT_LIMITS,
          memoryBytes: spec.memoryBytes,
          // It works once, before anybody can wait for anything else.
          cpuQuotaUs: null,
          maxPids: null,
          fileSizeBytes: null,
          maxOpenFiles: ZYGOTE_OPEN_FILES,
        },
        mounts: [...spec.mounts, { source: staged, target: ZYGOTE_TARGET, readonly: true }],
        socketPath: null,
        network: 'none',
        profile: 'default',
        require: REQUIRED.filter((layer) => !off.includes(layer)),
        disable: off,
        faultStep: null,
        faultErrno: 0,
        cgroupParent,
        stdin: theirs,
        stdout: 'pipe',
        stderr: 'pipe',
        setupTimeoutMs: 10_000,
        zygote: { role: 'template' },
      });
    } catch (error) {
      closeSync(ours);
      users.release(uid);
      throw error;
    } finally {
      closeSync(theirs);
    }
    const template: Template = { spec, sandbox, uid, channel: ours, usedAtMs: performance.now() };
    this.#living.add(template);
    void sandbox.exited.then(() => {
      this.#living.delete(template);
      this.#retire(template);
      users.release(uid);
    });
    try {
      await this.#untilReady(template);
    } catch (error) {
      this.#retire(template);
      sandbox.kill();
      await sandbox.exited;
      throw error;
    }
    return template;
  }

  /** Its output is read for as long as it lives: the end of it is the first sign that it is gone. */
  async #untilReady(template: Template): Promise<void> {
    const { sandbox } = template;
    const ready = Promise.withResolvers<void>();
    let log = '';
    const readOutput = (fd: number | null, onText: (text: string) => void) => {
      const socket = new Socket({ fd: fd as number, readable: true, writable: false });
      socket.unref();
      socket.on('data', (part) => {
        log = (log + String(part)).slice(-LOG_BYTES);
        onText(log);
      });
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.#retire(template);
        ready.reject(new CloveError('SETUP_FAILED', `the template ended: ${lastLine(log)}`));
      });
    };
    readOutput(sandbox.stdoutFd, (text) => {
      if (text.includes(ZYGOTE_READY)) ready.resolve();
    });
    readOutput(sandbox.stderrFd, () => {});
    const timer = setTimeout(
      () => ready.reject(new CloveError('TIMEOUT', `the template was not ready in time: ${lastLine(log)}`)),
      this.#options.readyMs ?? READY_MS,
    );
    await ready.promise.finally(() => clearTimeout(timer));
  }

  /** No agent comes from it any more. It ends by itself; its PID 1 stays until the last of its agents has ended. */
  #retire(template: Template): void {
    if (template.channel === null) return;
    closeSync(template.channel);
    template.channel = null;
    endSpares(template.uid);
  }

  #makeRoom(): void {
    const usable = [...this.#living].filter(({ channel }) => channel !== null);
    if (usable.length < MAX_TEMPLATES) return;
    const oldest = usable.reduce((one, other) => (one.usedAtMs <= other.usedAtMs ? one : other));
    this.#retire(oldest);
  }

  #stage(): Promise<string> {
    if (this.#staged === null) {
      const folder = path.join(this.#options.bootDirectory, 'zygote');
      this.#staged = stageZygote(folder).then(() => folder);
      this.#staged.catch(() => {
        this.#staged = null;
      });
    }
    return this.#staged;
  }

  /** One group for all templates: who may be born into a control group of ours. No agent has it. */
  #groupId(): number {
    this.#gid ??= this.#options.users.take();
    return this.#gid;
  }
}

function lastLine(log: string): string {
  return log.trimEnd().split('\n').at(-1) ?? '';
}
