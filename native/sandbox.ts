import { constants } from 'node:fs';
import { constants as os } from 'node:os';
import path from 'node:path';
import { CloveError } from '../errors/index.ts';
import { hintFor } from './sandbox-hints.ts';
import { begin, forget, sandboxFace } from './sandbox-native.ts';
import { toNativeLaunch, toNativeProgram } from './sandbox-spec.ts';
import type {
  Layer,
  LayerReport,
  LayerState,
  OpenInsideOptions,
  Sandbox,
  SandboxExecHandle,
  SandboxExecSpec,
  SandboxExit,
  SandboxSpec,
  SandboxStats,
} from './types.ts';

interface Launched {
  readonly pid: number;
  readonly initPid: number;
  readonly instance: string;
  readonly stdinFd: number | null;
  readonly stdoutFd: number | null;
  readonly stderrFd: number | null;
  readonly layers: string;
  readonly setupUs: Readonly<Record<string, number>>;
}

const ENDED: SandboxStats = Object.freeze({
  memoryBytes: 0,
  memoryPeakBytes: 0,
  memoryLimitBytes: null,
  cpuUsageUs: 0,
  cpuUserUs: 0,
  cpuSystemUs: 0,
  cpuThrottledUs: 0,
  cpuPeriods: 0,
  cpuThrottledPeriods: 0,
  pids: 0,
  pidsLimit: null,
  oomKills: 0,
  processIds: Object.freeze([]),
});

const OPEN_FLAGS = {
  read: constants.O_RDONLY,
  write: constants.O_WRONLY | constants.O_CREAT,
  append: constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND,
} as const;

function signalNumber(name: NodeJS.Signals): number {
  const number = os.signals[name];
  if (number === undefined) throw new CloveError('BAD_REQUEST', `no signal is called ${name}`);
  return number;
}

/**
 * Starts one sandbox. Resolves when the agent's program runs.
 * @throws BAD_REQUEST (a field makes no sense), SANDBOX_UNAVAILABLE (a required layer cannot be had: details name stage,
 * syscall, errno, layer), EXEC_FAILED (the program cannot be executed). In every case nothing of the agent ran and nothing is left.
 */
export async function launch(spec: SandboxSpec): Promise<Sandbox> {
  const request = toNativeLaunch(spec);
  const launched = begin<Launched>();
  const exited = begin<SandboxExit>();
  const id = sandboxFace().launch(launched.op, exited.op, request);
  try {
    return new NativeSandbox(id, spec, await launched.done, exited.done);
  } catch (error) {
    forget(exited.op);
    throw error;
  }
}

class NativeSandbox implements Sandbox {
  readonly instance: string;
  readonly pid: number;
  readonly initPid: number;
  readonly stdinFd: number | null;
  readonly stdoutFd: number | null;
  readonly stderrFd: number | null;
  readonly setupUs: Readonly<Record<string, number>>;
  readonly exited: Promise<SandboxExit>;
  readonly #id: number;
  readonly #cwd: string;
  /** Layers the request itself leaves out. */
  readonly #leftOut: readonly Layer[];
  /** What a world made of these. */
  readonly #worldLayers: Readonly<Partial<Record<Layer, string>>>;
  readonly #unavailable: NonNullable<SandboxSpec['unavailable']>;
  readonly #layerLines: string;
  #layers: readonly LayerReport[] | null = null;
  #frozen = false;

  constructor(id: number, spec: SandboxSpec, launched: Launched, exited: Promise<SandboxExit>) {
    this.#id = id;
    this.#cwd = spec.cwd;
    this.#leftOut = spec.network === 'host' ? [...spec.disable, 'netns'] : spec.disable;
    this.#worldLayers = spec.world?.layers ?? {};
    this.#unavailable = spec.unavailable ?? {};
    this.instance = launched.instance;
    this.pid = launched.pid;
    this.initPid = launched.initPid;
    this.stdinFd = launched.stdinFd;
    this.stdoutFd = launched.stdoutFd;
    this.stderrFd = launched.stderrFd;
    this.setupUs = launched.setupUs;
    this.exited = exited;
    this.#layerLines = launched.layers;
  }

  get layers(): readonly LayerReport[] {
    this.#layers ??= this.#layerLines
      .trimEnd()
      .split('\n')
      .map((line) => this.#layerOf(line));
    return this.#layers;
  }

  #layerOf(line: string): LayerReport {
    const [layer, state, errno, how] = line.split('\t') as [Layer, LayerState, string, string];
    if (layer === 'env') {
      const off = this.#leftOut.includes('env');
      return {
        layer,
        requested: !off,
        state: off ? 'off' : 'on',
        how: off
          ? 'left out by request: the kernel’s environment is inherited'
          : 'exactly the variables of the request',
        errno: null,
        hint: null,
      };
    }
    const unavailable = this.#unavailable[layer];
    if (unavailable !== undefined && state === 'off') {
      const hint = hintFor('', unavailable.errno ?? '', layer).hint ?? null;
      return { layer, requested: true, state, ...unavailable, hint };
    }
    const ofWorld = this.#worldLayers[layer];
    if (ofWorld !== undefined && (state === 'on' || state === 'n/a'))
      return { layer, requested: true, state: 'on', how: ofWorld, errno: null, hint: null };
    return {
      layer,
      requested: state !== 'n/a' && !this.#leftOut.includes(layer),
      state,
      how,
      errno: errno === '' ? null : errno,
      hint: errno === '' ? null : (hintFor('', errno, layer).hint ?? null),
    };
  }

  signal(signal: NodeJS.Signals): void {
    sandboxFace().signal(this.#id, signalNumber(signal));
  }

  kill(reason: 'killed' | 'timeout' = 'killed'): void {
    sandboxFace().kill(this.#id, reason === 'timeout');
  }

  async freeze(): Promise<void> {
    this.#frozen = true;
    try {
      await this.#setFrozen(true);
    } catch (error) {
      this.#frozen = false; // what does not freeze runs on
      throw error;
    }
  }

  async thaw(): Promise<void> {
    await this.#setFrozen(false);
    this.#frozen = false;
  }

  async #setFrozen(frozen: boolean): Promise<void> {
    const { op, done } = begin<string>();
    sandboxFace().freeze(this.#id, op, frozen);
    await done;
  }

  stats(): SandboxStats {
    return sandboxFace().stats(this.#id) ?? ENDED;
  }

  /** @throws EXEC_FAILED, CONFLICT (frozen), OVERLOAD (64 commands run already), NOT_FOUND (ended), BAD_REQUEST */
  async exec(spec: SandboxExecSpec): Promise<SandboxExecHandle> {
    this.#refuseFrozen();
    const program = toNativeProgram(spec);
    const started = begin<Pick<Launched, 'pid' | 'stdinFd' | 'stdoutFd' | 'stderrFd'>>();
    const exited = begin<Awaited<SandboxExecHandle['exited']>>();
    sandboxFace().exec(this.#id, started.op, exited.op, program);
    try {
      const { pid, stdinFd, stdoutFd, stderrFd } = await started.done;
      return {
        pid,
        stdinFd,
        stdoutFd: stdoutFd as number,
        stderrFd: stderrFd as number,
        exited: exited.done,
        kill: (signal = 'SIGKILL') => sandboxFace().execKill(this.#id, started.op, signalNumber(signal)),
      };
    } catch (error) {
      forget(exited.op);
      const { code, details } = error as CloveError;
      if (code !== 'EXEC_FAILED') throw error;
      const errno = String(details?.errno ?? '');
      throw new CloveError('EXEC_FAILED', `cannot execute ${spec.argv[0]}: ${(error as Error).message}`, {
        details: { errno },
        ...hintFor('exec', errno, ''),
      });
    }
  }

  async openInside(name: string, { flags, mode }: OpenInsideOptions): Promise<number> {
    this.#refuseFrozen();
    const absolute = name.startsWith('/') ? name : path.posix.join('/', this.#cwd, '/') + name;
    if (name === '' || name.includes('\0') || Buffer.byteLength(absolute) > 4095) {
      throw new CloveError('PATH_REFUSED', 'the path is empty, too long or has a NUL');
    }
    const { op, done } = begin<number>();
    sandboxFace().open(this.#id, op, absolute, OPEN_FLAGS[flags], mode & 0o777, flags === 'write');
    try {
      return await done;
    } catch (error) {
      const { code, message, details } = error as CloveError;
      throw new CloveError(code, `${name}: ${message}`, { ...(details === undefined ? {} : { details }) });
    }
  }

  /** PID 1 is frozen too: a request would hang until somebody thaws. */
  #refuseFrozen(): void {
    if (this.#frozen) throw new CloveError('CONFLICT', `sandbox ${this.instance} is frozen`);
  }
}
