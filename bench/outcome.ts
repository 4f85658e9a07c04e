/** From attempts to outcomes: pure, and the same whatever the order in which the attempts came. */
import type {
  Attempt,
  AttemptEnd,
  CheckResult,
  RuntimeName,
  Trial,
  TrialOutcome,
  TrialStatus,
  Verdict,
} from './types.ts';

/** Ends that are the trial's own doing; the others say nothing about it. */
const OWN_DOING: ReadonlySet<AttemptEnd> = new Set(['error', 'crashed', 'timeout', 'oom']);

/** An exception of the scenario is deterministic: one more try is enough to see that. */
const ERROR_ATTEMPTS = 2;

/** Attempts that count against the limit: those the bench itself cut short do not. */
export function countedAttempts(attempts: readonly Attempt[]): Attempt[] {
  return attempts.filter((attempt) => attempt.end !== 'interrupted');
}

/** Whether a trial with these attempts is to be tried again. */
export function mayTryAgain(attempts: readonly Attempt[], maxAttempts: number): boolean {
  const counted = countedAttempts(attempts);
  if (counted.some((attempt) => attempt.end === 'completed')) return false;
  if (counted.length >= maxAttempts) return false;
  return counted.filter((attempt) => attempt.end === 'error').length < ERROR_ATTEMPTS;
}

/** A trial that made checks is what they say: one that could not be made leaves the question open. */
function statusOfChecks(checks: readonly CheckResult[]): TrialStatus {
  if (checks.some((check) => check.status === 'failed')) return 'failed';
  return checks.some((check) => check.status === 'not_measured') ? 'not_measured' : 'passed';
}

/**
 * passed: an attempt completed, and its checks hold if it made any. failed: every attempt that counts ended by the trial's own doing. not_measured: no attempt, or
 * one was lost to something else, so that the trial did not get all its chances.
 */
export function statusOf(attempts: readonly Attempt[], maxAttempts: number): TrialStatus {
  const completed = attempts.find((attempt) => attempt.end === 'completed');
  if (completed !== undefined) return statusOfChecks(completed.result?.fleet?.checks ?? []);
  if (mayTryAgain(attempts, maxAttempts)) return 'not_measured';
  return countedAttempts(attempts).every((attempt) => OWN_DOING.has(attempt.end)) ? 'failed' : 'not_measured';
}

export function attemptsByTrial(attempts: readonly Attempt[], runtime: RuntimeName): Map<string, Attempt[]> {
  const byTrial = new Map<string, Attempt[]>();
  for (const attempt of attempts) {
    if (attempt.runtime !== runtime) continue;
    const list = byTrial.get(attempt.trialId);
    if (list === undefined) byTrial.set(attempt.trialId, [attempt]);
    else list.push(attempt);
  }
  for (const list of byTrial.values()) list.sort((a, b) => a.attempt - b.attempt);
  return byTrial;
}

/** One outcome per runtime and trial, in that order. */
export function outcomesOf(
  trials: readonly Trial[],
  runtimes: readonly RuntimeName[],
  attempts: readonly Attempt[],
  maxAttempts: number,
): TrialOutcome[] {
  return runtimes.flatMap((runtime) => {
    const byTrial = attemptsByTrial(attempts, runtime);
    return trials.map((trial): TrialOutcome => {
      const own = byTrial.get(trial.id) ?? [];
      const result = own.find((attempt) => attempt.end === 'completed')?.result ?? null;
      return {
        id: trial.id,
        key: trial.key,
        runtime,
        params: trial.params,
        seed: trial.seed,
        status: statusOf(own, maxAttempts),
        attempts: own,
        metrics: result?.metrics ?? null,
        facts: result?.facts ?? null,
      };
    });
  });
}

/** Of the attempt that counts. */
export function checksOf(outcome: TrialOutcome): readonly CheckResult[] {
  return outcome.attempts.find((attempt) => attempt.end === 'completed')?.result?.fleet?.checks ?? [];
}

/** The verdict is about the first runtime; the others are there to be compared with it. */
export function verdictOf(
  outcomes: readonly TrialOutcome[],
  runtime: RuntimeName,
  coverageFloor: number,
  complete: boolean,
): Verdict {
  const own = outcomes.filter((outcome) => outcome.runtime === runtime);
  const count = (status: TrialStatus) => own.filter((outcome) => outcome.status === status).length;
  const passed = count('passed');
  const measured = passed + count('failed');
  const coverage = own.length === 0 ? 0 : measured / own.length;
  const base = { coverage, coverageFloor };
  const checks = own.flatMap(checksOf);
  const sum =
    checks.length === 0
      ? `${passed} of ${own.length} experiments completed under ${runtime}`
      : `${checks.filter((check) => check.status === 'passed').length} of ${checks.length} checks hold under ${runtime}`;
  if (!complete) return { ...base, kind: 'no_verdict', reason: `The run is not finished: ${sum} so far.` };
  if (coverage < coverageFloor)
    return {
      ...base,
      kind: 'no_verdict',
      reason: `Only ${measured} of ${own.length} experiments could be measured under ${runtime}; a verdict needs ${Math.ceil(coverageFloor * own.length)}.`,
    };
  if (passed === own.length) return { ...base, kind: 'pass', reason: `${sum}.` };
  const refuted = checks.filter((check) => check.status === 'failed').map((check) => check.id);
  const missing = [
    refuted.length > 0 ? `not ${[...new Set(refuted)].join(', ')}` : '',
    count('failed') > 0 ? `${count('failed')} failed` : '',
    count('not_measured') > 0 ? `${count('not_measured')} not measured` : '',
  ].filter((part) => part !== '');
  return { ...base, kind: count('failed') > 0 ? 'fail' : 'pass', reason: `${sum}; ${missing.join(', ')}.` };
}
