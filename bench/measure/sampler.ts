import type { LoadSample, RuntimeName } from '../types.ts';
import { machineCpuTimes, machineMemory } from './proc.ts';

const PERIOD_MS = 250;

export interface SampledWork {
  readonly runtime: RuntimeName;
  readonly cores: number;
  memoryBytes(): Promise<number | null> | number | null;
  running(): number;
  queued(): number;
  nowMs(): number;
}

/** Reads the machine's load four times a second while a segment runs. Returns how to stop it. */
export function startSampler(work: SampledWork, onSample: (sample: LoadSample) => void): () => void {
  let before = machineCpuTimes();
  let busy = false;
  const timer = setInterval(async () => {
    if (busy) return;
    busy = true;
    try {
      const atMs = work.nowMs();
      const now = machineCpuTimes();
      const memory = machineMemory();
      const memoryBytes = await work.memoryBytes();
      if (now === null || before === null || memory === null || now.total <= before.total || stopped) return;
      const share = (now.busy - before.busy) / (now.total - before.total);
      before = now;
      onSample({
        runtime: work.runtime,
        atMs,
        cpuCores: share * work.cores,
        memoryBytes,
        machineMemoryUsedBytes: memory.totalBytes - memory.availableBytes,
        running: work.running(),
        queued: work.queued(),
      });
    } finally {
      busy = false;
    }
  }, PERIOD_MS);
  let stopped = false;
  return () => {
    stopped = true;
    clearInterval(timer);
  };
}
