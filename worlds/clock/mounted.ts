import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CloveError } from '../../errors/index.ts';
import { clockLibraryPath, clockStartPath, NativeClock } from '../../native/clock.ts';
import type { SandboxMount } from '../../native/types.ts';
import { Luck } from '../luck/streams.ts';
import { controlGroupOf } from './control-group.ts';
import { NativeWorldClock } from './native-world-clock.ts';
import type { ClockConfig } from './schema.ts';
import { strictEnvironment, writeNodePreload } from './strict.ts';
import type { ClockMode, ClockState, WorldClock } from './types.ts';

/** Where an agent finds its clock inside its sandbox. */
export const CLOCK_TARGET = '/opt/clove-clock';
const LIBRARY = 'libclove_clock.so';
/** As native/clock/program.h has it. */
const START = 'clove-start';
/** A program may well look at something every few milliseconds for an hour; not for ever. */
const DEFAULT_POLLING_JUMPS = 500_000;

export interface MountedClockOptions {
  /** Goes on at this state instead of starting. */
  readonly restored?: ClockState;
  /** Folder below which the world's own folder is made; default a tmpfs, since a page on a disk would be written back. */
  readonly parent?: string;
  /** False where no thread of this process serves the agents (tests). */
  readonly watchesOwnProcess?: boolean;
  /** From which agents of a strict world draw what would be random; default 0. */
  readonly seed?: number;
  /** So many short waits of one thread in a row are taken for polling. */
  readonly pollingJumps?: number;
}

/** What a world's clock adds to the launch of an agent. */
export interface ClockAttachment {
  readonly mounts: readonly SandboxMount[];
  readonly env: Readonly<Record<string, string>>;
}

export interface AttachOptions {
  /** By which it draws from the seed in mode strict, whatever number it has; default: that number. */
  readonly name?: string;
  /** The agent shares the host's network: what it connects to is no part of the world. */
  readonly connectsOutside?: boolean;
  /** False: the agent sees the host's files (no mount namespace), and finds its clock there. */
  readonly ownFiles?: boolean;
}

export interface MountedClock {
  readonly clock: WorldClock;
  /** Before the launch. Nothing is skipped until {@link admit} or {@link release} follows. @throws IO */
  attachment(agentId: number, options?: AttachOptions): ClockAttachment;
  /**
   * After the launch: from now on the agent's threads decide with the others when time moves.
   * `group`: host folder of its control group; or the pid of a process in it. `ignored`: pids that are no part of the
   * agent (PID 1 of its sandbox). An agent that cannot be watched holds the world at real speed, with a degradation that
   * says why. @throws NOT_FOUND without an attachment
   */
  admit(agentId: number, group: string | number, ignored?: readonly number[]): void;
  /** The agent is gone, or was never started. */
  release(agentId: number): void;
  close(): void;
}

/**
 * The clock of a world with processes of its own. @throws SETUP_FAILED */
export function createMountedClock(config: ClockConfig, options: MountedClockOptions = {}): MountedClock {
  const { mode } = config;
  return new NativeMountedClock(config, mode, options);
}

/** Folders of kernels that were killed. */
function sweep(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = /^clove-clock-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(path.join(parent, name), { recursive: true, force: true });
  }
}

function makeFolder(parent: string | undefined): string {
  const below = parent ?? (existsSync('/dev/shm') ? '/dev/shm' : tmpdir());
  sweep(below);
  const folder = mkdtempSync(path.join(below, `clove-clock-${process.pid}-`));
  // Agents that see the host's files must get through to theirs; the names below are not to be listed.
  chmodSync(folder, 0o711);
  return folder;
}

interface Attached {
  readonly slots: string;
  /** Held from the attachment to the admission: who is being started is at work. */
  readonly starting: Disposable;
}

class NativeMountedClock implements MountedClock {
  readonly clock: NativeWorldClock;
  readonly #folder: string;
  readonly #native: NativeClock;
  readonly #agents = new Map<number, Attached>();
  readonly #mode: ClockMode;
  readonly #seed: number;

  constructor(
    config: ClockConfig,
    mode: ClockMode,
    { restored, parent, watchesOwnProcess, pollingJumps, seed = 0 }: MountedClockOptions,
  ) {
    this.#mode = mode;
    this.#seed = seed;
    const startEpochMs = restored?.startEpochMs ?? config.start ?? Date.now();
    this.#folder = makeFolder(parent);
    try {
      mkdirSync(path.join(this.#folder, 'world'), { mode: 0o755 });
      copyFileSync(clockLibraryPath(), this.#libraryPath);
      const start = clockStartPath();
      if (start !== null) copyFileSync(start, path.join(this.#folder, 'world', START));
      if (mode === 'strict') writeNodePreload(path.join(this.#folder, 'world'));
      this.#native = new NativeClock(
        {
          folder: path.join(this.#folder, 'world'),
          mode,
          rate: config.scale,
          startEpochMs,
          elapsedMs: restored?.monotonicMs ?? 0,
          horizonMs: config.horizon,
          coalesceMs: config.coalesce_ms,
          watchesOwnProcess: watchesOwnProcess ?? true,
          pollingJumps: pollingJumps ?? DEFAULT_POLLING_JUMPS,
        },
        { onDue: () => this.clock.fireDue(), onAdvanced: () => this.clock.advanced() },
      );
    } catch (error) {
      rmSync(this.#folder, { recursive: true, force: true });
      throw error;
    }
    this.clock = new NativeWorldClock(this.#native, mode, startEpochMs);
  }

  get #libraryPath(): string {
    return path.join(this.#folder, 'world', LIBRARY);
  }

  attachment(
    agentId: number,
    { name = String(agentId), connectsOutside = false, ownFiles = true }: AttachOptions = {},
  ): ClockAttachment {
    const folder = path.join(this.#folder, `a${agentId}`);
    const slots = path.join(folder, 'agent', 'slots');
    if (!this.#agents.has(agentId)) {
      // Nobody but the kernel may write to the folders, only to the file.
      mkdirSync(path.dirname(slots), { recursive: true, mode: 0o755 });
      symlinkSync('../world', path.join(folder, 'world'));
    }
    const seed = new Luck(this.#seed).derive(`clock/agents/${name}`);
    this.#native.prepare(slots, connectsOutside, seed);
    const starting =
      this.#agents.get(agentId)?.starting ?? this.clock.lease(`agent ${agentId} is being started`);
    this.#agents.set(agentId, { slots, starting });
    const strict = (world: string) => (this.#mode === 'strict' ? strictEnvironment(world, seed) : {});
    if (!ownFiles)
      return {
        mounts: [],
        env: {
          LD_PRELOAD: this.#libraryPath,
          CLOVE_CLOCK: folder,
          ...strict(path.join(this.#folder, 'world')),
        },
      };
    return {
      mounts: [
        { source: path.join(this.#folder, 'world'), target: `${CLOCK_TARGET}/world`, readonly: true },
        { source: path.dirname(slots), target: `${CLOCK_TARGET}/agent`, readonly: false },
      ],
      env: {
        LD_PRELOAD: `${CLOCK_TARGET}/world/${LIBRARY}`,
        CLOVE_CLOCK: CLOCK_TARGET,
        ...strict(`${CLOCK_TARGET}/world`),
      },
    };
  }

  admit(agentId: number, group: string | number, ignored: readonly number[] = []): void {
    const attached = this.#agents.get(agentId);
    if (attached === undefined)
      throw new CloveError('NOT_FOUND', `agent ${agentId} was started without the world's clock`);
    try {
      const folder = typeof group === 'number' ? controlGroupOf(group) : group;
      this.#native.admit(agentId, attached.slots, folder, ignored);
    } catch (error) {
      // The lease of its start is kept: whoever cannot be watched is taken to be at work.
      this.clock.degrade(
        'not-watched',
        `agent ${agentId} cannot be watched: ${(error as Error).message}; the world runs at real speed`,
      );
      return;
    }
    attached.starting[Symbol.dispose]();
  }

  release(agentId: number): void {
    const attached = this.#agents.get(agentId);
    if (attached === undefined) return;
    this.#agents.delete(agentId);
    this.#native.expel(agentId);
    attached.starting[Symbol.dispose]();
    rmSync(path.join(this.#folder, `a${agentId}`), { recursive: true, force: true });
  }

  close(): void {
    this.clock.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
