import { machineMemory, pressure } from './measure/proc.ts';
import type { AttemptUsage } from './types.ts';

/** Memory that is never handed out. */
const RESERVE_SHARE = 0.05;
/** An attempt's memory is reserved whole until it has had this long to take it. */
const YOUNG_MS = 2_000;
/** With this share of time lost to waiting (PSI, % over 10 s), adaptive admission starts nothing more for now. */
const MEMORY_PRESSURE_LIMIT = 20;
const CPU_PRESSURE_LIMIT = 60;

export interface AdmissionOptions {
  /** What a trial may use at most; expected until one has been measured. */
  readonly limitBytes: number;
  /** Also heed pressure (`--parallel auto`); memory is heeded always. */
  readonly adaptive: boolean;
  readonly slots: number;
  readonly nowMs: () => number;
  /** The machine, replaceable in tests. */
  readonly machine?: {
    readonly memory: typeof machineMemory;
    readonly pressure: typeof pressure;
  };
}

export type Refusal = 'memory' | 'memory pressure' | 'cpu pressure';

/** Decides by measured load whether one more trial may start. With nothing running it always may, so that work goes on. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #started = new Map<string, number>();
  #peaks: number[] = [];
  #expectedBytes: number;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#expectedBytes = options.limitBytes;
  }

  /** null = may start now, else why not. */
  refusal(): Refusal | null {
    const running = this.#started.size;
    if (running === 0) return null;
    const machine = this.#options.machine ?? { memory: machineMemory, pressure };
    const memory = machine.memory();
    if (memory !== null) {
      const now = this.#options.nowMs();
      const young = [...this.#started.values()].filter((at) => now - at < YOUNG_MS).length;
      const wanted = (young + 1) * this.#expectedBytes;
      if (memory.availableBytes - memory.totalBytes * RESERVE_SHARE < wanted) return 'memory';
    }
    if (!this.#options.adaptive) return null;
    if ((machine.pressure('memory') ?? 0) > MEMORY_PRESSURE_LIMIT) return 'memory pressure';
    // The machine is busy with something else too: half the slots are kept at work.
    if (running >= this.#options.slots / 2 && (machine.pressure('cpu') ?? 0) > CPU_PRESSURE_LIMIT)
      return 'cpu pressure';
    return null;
  }

  started(id: string): void {
    this.#started.set(id, this.#options.nowMs());
  }

  /** `measured`: it completed, so that its peak says what such a trial needs. */
  ended(id: string, usage: AttemptUsage, measured: boolean): void {
    this.#started.delete(id);
    if (!measured || usage.memoryPeakBytes === null) return;
    const own =
      usage.memorySource === 'shared' ? usage.memoryPeakBytes / this.#options.slots : usage.memoryPeakBytes;
    this.#peaks = [...this.#peaks, own].slice(-50).sort((a, b) => a - b);
    this.#expectedBytes = Math.min(
      this.#options.limitBytes,
      this.#peaks[Math.floor((this.#peaks.length - 1) * 0.9)] ?? this.#options.limitBytes,
    );
  }
}
