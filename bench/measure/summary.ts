/** Figures of one runtime, from its attempts, segments and load samples. Pure. */
import type { HostCrash, Segment } from '../store/schema.ts';
import type { Attempt, FaultKind, LoadSample, RuntimeName, RuntimeSummary, TrialOutcome } from '../types.ts';

export interface SummaryInput {
  readonly runtime: RuntimeName;
  readonly parallel: number;
  readonly cores: number;
  readonly outcomes: readonly TrialOutcome[];
  readonly segments: readonly Segment[];
  readonly samples: readonly LoadSample[];
  readonly hostCrashes: readonly HostCrash[];
}

export function summarise(input: SummaryInput): RuntimeSummary {
  const { runtime } = input;
  const outcomes = input.outcomes.filter((outcome) => outcome.runtime === runtime);
  const attempts = outcomes.flatMap((outcome) => outcome.attempts);
  const segments = input.segments.filter((segment) => segment.runtime === runtime);
  const samples = input.samples.filter((sample) => sample.runtime === runtime);
  const count = (status: TrialOutcome['status']) =>
    outcomes.filter((outcome) => outcome.status === status).length;
  const passed = count('passed');
  const wallMs = segments.reduce((sum, segment) => sum + segment.lastMs - segment.startedAtMs, 0);
  const overhead = overheadOf(attempts, segments);
  const peaks = attempts.flatMap((attempt) => attempt.usage.memoryPeakBytes ?? []);
  const faultsInjected: Record<FaultKind, number> = { crash: 0, hang: 0, leak: 0 };
  for (const attempt of attempts) if (attempt.fault !== null) faultsInjected[attempt.fault]++;
  return {
    runtime,
    // What was used, not what was asked for: a busy machine may have had room for fewer.
    parallel: attempts.reduce((most, { slot }) => Math.max(most, slot + 1), 0) || input.parallel,
    trials: outcomes.length,
    passed,
    failed: count('failed'),
    notMeasured: count('not_measured'),
    attempts: attempts.length,
    retries: outcomes.reduce((total, outcome) => total + Math.max(0, outcome.attempts.length - 1), 0),
    completion: outcomes.length === 0 ? 0 : passed / outcomes.length,
    wallMs,
    trialsPerMinute: wallMs > 0 ? passed / (wallMs / 60_000) : 0,
    cpuUtilisation:
      samples.length === 0 ? null : mean(samples.map((sample) => sample.cpuCores)) / input.cores,
    computeMsTotal: sum(attempts.flatMap((attempt) => attempt.usage.computeMs ?? [])),
    cpuMsTotal: attempts.some((attempt) => attempt.usage.cpuMs !== null)
      ? sum(attempts.flatMap((attempt) => attempt.usage.cpuMs ?? []))
      : null,
    memoryPeakBytes: peaks.length === 0 ? null : Math.max(...peaks),
    overheadMsPerTrial: overhead?.total ?? null,
    harnessMsPerTrial: overhead?.gap ?? null,
    startupMsMedian: median(attempts.flatMap((attempt) => attempt.usage.startupMs ?? [])),
    lostMs: sum(
      attempts
        .filter((attempt) => attempt.end !== 'completed')
        .map((attempt) => attempt.usage.computeMs ?? attempt.usage.wallMs),
    ),
    faultsInjected,
    hostCrashes: input.hostCrashes.filter((crash) => crash.runtime === runtime).length,
    collateral: attempts.filter((attempt) => attempt.end === 'collateral').length,
  };
}

/**
 * Per attempt that gave a result: `gap` = time its slot stood empty before it while it was waiting; `total` = gap + what of the attempt's wall was not the trial's function.
 */
function overheadOf(
  attempts: readonly Attempt[],
  segments: readonly Segment[],
): { gap: number; total: number } | null {
  const gaps: number[] = [];
  const outside: number[] = [];
  for (const segment of segments) {
    const freeSince = new Map<number, number>();
    const own = attempts
      .filter((one) => one.startedAtMs >= segment.startedAtMs && one.startedAtMs <= segment.lastMs)
      .sort((a, b) => a.startedAtMs - b.startedAtMs);
    for (const attempt of own) {
      const { wallMs, computeMs } = attempt.usage;
      const free = attempt.startedAtMs - (freeSince.get(attempt.slot) ?? segment.startedAtMs);
      const gap = Math.min(free, attempt.queuedMs);
      freeSince.set(attempt.slot, attempt.startedAtMs + wallMs);
      if (attempt.end !== 'completed' || computeMs === null) continue;
      gaps.push(Math.max(0, gap));
      outside.push(Math.max(0, wallMs - computeMs));
    }
  }
  return gaps.length === 0 ? null : { gap: mean(gaps), total: mean(gaps) + mean(outside) };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}

export function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}
