import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { Outcome } from '../audit/draft.ts';
import type { CallObserver, ObservedCall } from '../telemetry/observer.ts';
import type { Family, Sample } from './prometheus.ts';

/** Upper bounds in seconds: from a call that does nothing to one that waits for a model. */
const BOUNDS = [
  0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30,
  120,
] as const;
const QUANTILES = [0.5, 0.9, 0.99, 0.999] as const;
/** µs. With two figures a histogram is some 25 KB. */
const LONGEST_US = 3_600_000_000;

class SyscallFigures {
  readonly outcomes = new Map<Outcome, number>();
  readonly laterOutcomes = new Map<Outcome, number>();
  readonly buckets: number[] = new Array(BOUNDS.length + 1).fill(0);
  readonly histogram: RecordableHistogram = createHistogram({ lowest: 1, highest: LONGEST_US, figures: 2 });
  sumSeconds = 0;
  count = 0;

  record(ms: number): void {
    const seconds = ms / 1000;
    const at = BOUNDS.findIndex((bound) => seconds <= bound);
    const bucket = at < 0 ? BOUNDS.length : at;
    this.buckets[bucket] = (this.buckets[bucket] as number) + 1;
    this.sumSeconds += seconds;
    this.count += 1;
    this.histogram.record(Math.min(LONGEST_US, Math.max(1, Math.round(ms * 1000))));
  }
}

interface Open {
  readonly figures: SyscallFigures;
  readonly isLater: boolean;
  readonly startedMs: number;
}

/** Counts and times the calls of every syscall, from the frame to the answer. As many series as there are syscalls and codes. */
export class CallMetrics implements CallObserver {
  readonly #bySyscall = new Map<string, SyscallFigures>();
  readonly #open = new Map<object, Open>();

  get inFlight(): number {
    return this.#open.size;
  }

  begin(key: object, { definition, isLater }: ObservedCall): void {
    const name = definition?.name ?? 'UNKNOWN';
    const figures = this.#bySyscall.getOrInsertComputed(name, () => new SyscallFigures());
    this.#open.set(key, { figures, isLater, startedMs: performance.now() });
  }

  admitted(): void {}

  ended(key: object, outcome: Outcome): void {
    const open = this.#open.get(key);
    if (open === undefined) return;
    this.#open.delete(key);
    const { figures, isLater, startedMs } = open;
    const outcomes = isLater ? figures.laterOutcomes : figures.outcomes;
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    if (!isLater) figures.record(performance.now() - startedMs);
  }

  families(): Family[] {
    const calls: Sample[] = [];
    const later: Sample[] = [];
    const durations: Sample[] = [];
    const quantiles: Sample[] = [];
    for (const [syscall, figures] of this.#bySyscall) {
      for (const [outcome, value] of figures.outcomes) calls.push({ labels: { syscall, outcome }, value });
      for (const [outcome, value] of figures.laterOutcomes)
        later.push({ labels: { syscall, outcome }, value });
      if (figures.count === 0) continue;
      durations.push(...durationSamples(syscall, figures));
      for (const quantile of QUANTILES) {
        quantiles.push({
          labels: { syscall, quantile: String(quantile) },
          value: figures.histogram.percentile(quantile * 100) / 1e6,
        });
      }
    }
    return [
      {
        name: 'clove_syscalls_total',
        type: 'counter',
        help: 'Calls answered, by syscall and outcome: OK or the code of the error. Without NOOP.',
        samples: calls,
      },
      {
        name: 'clove_async_calls_total',
        type: 'counter',
        help: 'Calls that were accepted to be answered later and have ended, by syscall and outcome.',
        samples: later,
      },
      {
        name: 'clove_syscall_duration_seconds',
        type: 'histogram',
        help: 'From the frame to the answer, with the wait for the disk where there is one.',
        samples: durations,
      },
      {
        name: 'clove_syscall_duration_quantile_seconds',
        type: 'gauge',
        help: 'The same since the kernel started, as quantiles.',
        samples: quantiles,
      },
      {
        name: 'clove_syscalls_in_flight',
        type: 'gauge',
        help: 'Calls that are not answered yet, those that wait for something included.',
        samples: [{ value: this.#open.size }],
      },
    ];
  }
}

function durationSamples(syscall: string, { buckets, sumSeconds, count }: SyscallFigures): Sample[] {
  let below = 0;
  const samples: Sample[] = BOUNDS.map((bound, at) => {
    below += buckets[at] as number;
    return { suffix: '_bucket', labels: { syscall, le: String(bound) }, value: below };
  });
  return [
    ...samples,
    { suffix: '_bucket', labels: { syscall, le: '+Inf' }, value: count },
    { suffix: '_sum', labels: { syscall }, value: sumSeconds },
    { suffix: '_count', labels: { syscall }, value: count },
  ];
}
