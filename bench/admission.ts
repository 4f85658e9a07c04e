import { setTimeout as sleep } from 'node:timers/promises';
import { machineCpuTimes, machineMemory, pressure } from './measure/proc.ts';
import type { AttemptUsage } from './types.ts';

/** Memory that is never handed out. */
const RESERVE_SHARE = 0.05;
/** An attempt's memory is reserved whole until it has had this long to take it. */
const YOUNG_MS = 2_000;
/** With this share of time lost to waiting (PSI, % over 10 s), adaptive admission starts nothing more for now. */
const MEMORY_PRESSURE_LIMIT = 20;
/** How long others' CPU use is measured before the first trial. */
const CPU_SAMPLE_MS = 200;
/** Others take a slot away when they keep this much of a core busy. */
const FOREIGN_CORE_SHARE = 0.75;

export interface AdmissionOptions {
  /** What a trial may use at most; expected until one has been measured. */
  readonly limitBytes: number;
  readonly slots: number;
  readonly nowMs: () => number;
  /** The machine, replaceable in tests. */
  readonly machine?: {
    readonly memory: typeof machineMemory;
    readonly pressure: typeof pressure;
  };
}

export type Refusal = 'memory' | 'memory pressure';

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
    return (machine.pressure('memory') ?? 0) > MEMORY_PRESSURE_LIMIT ? 'memory pressure' : null;
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

/**
 * How many of `wanted` slots the machine has room for, given what others use now. To be asked while nothing of the bench runs: once
 * it does, a saturated machine does not tell whose load it is.
 */
export async function slotsBesideOthers(
  wanted: number,
  cores: number,
): Promise<{ slots: number; foreignCores: number }> {
  const before = machineCpuTimes();
  await sleep(CPU_SAMPLE_MS);
  const after = machineCpuTimes();
  if (before === null || after === null || after.total === before.total)
    return { slots: wanted, foreignCores: 0 };
  const foreignCores = ((after.busy - before.busy) / (after.total - before.total)) * cores;
  const taken = Math.floor(foreignCores + 1 - FOREIGN_CORE_SHARE);
  return { slots: Math.max(1, Math.min(wanted, cores - taken)), foreignCores };
}
