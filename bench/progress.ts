import type { Progress } from './events.ts';
import { attemptsByTrial, mayTryAgain, statusOf } from './outcome.ts';
import type { Attempt, RuntimeName, Trial, TrialStatus } from './types.ts';

/** What one runtime has behind it. Every answer costs the same, however many trials there are. */
export class RuntimeProgress {
  readonly #runtime: RuntimeName;
  readonly #trials: ReadonlyMap<string, Trial>;
  readonly #attempts: Map<string, Attempt[]>;
  readonly #maxAttempts: number;
  readonly #costTotal: number;
  readonly #count: Record<TrialStatus, number> = { passed: 0, failed: 0, not_measured: 0 };
  #costDone = 0;
  #retries = 0;
  #wallMs = 0;

  constructor(
    runtime: RuntimeName,
    trials: readonly Trial[],
    attempts: readonly Attempt[],
    maxAttempts: number,
  ) {
    this.#runtime = runtime;
    this.#trials = new Map(trials.map((trial) => [trial.id, trial]));
    this.#attempts = attemptsByTrial(attempts, runtime);
    this.#maxAttempts = maxAttempts;
    this.#costTotal = trials.reduce((sum, trial) => sum + trial.costEstimate, 0);
    for (const [id, own] of this.#attempts) {
      this.#retries += own.length - 1;
      if (!this.open(this.trial(id))) this.#settle(this.trial(id));
    }
  }

  trial(id: string): Trial {
    return this.#trials.get(id) as Trial;
  }

  attemptsOf(id: string): readonly Attempt[] {
    return this.#attempts.get(id) ?? [];
  }

  /** Whether the trial still waits for its outcome. */
  open(trial: Trial): boolean {
    return mayTryAgain(this.attemptsOf(trial.id), this.#maxAttempts);
  }

  /** Trials that have their outcome. */
  get finished(): number {
    return this.#count.passed + this.#count.failed + this.#count.not_measured;
  }

  add(attempt: Attempt): void {
    const list = this.#attempts.get(attempt.trialId);
    if (list === undefined) this.#attempts.set(attempt.trialId, [attempt]);
    else {
      list.push(attempt);
      this.#retries++;
    }
    const trial = this.trial(attempt.trialId);
    if (!this.open(trial)) this.#settle(trial);
  }

  addWall(ms: number): void {
    this.#wallMs += ms;
  }

  snapshot(running: number, segmentMs: number): Progress {
    return {
      runtime: this.#runtime,
      trials: this.#trials.size,
      passed: this.#count.passed,
      failed: this.#count.failed,
      notMeasured: this.#count.not_measured,
      running,
      queued: Math.max(0, this.#trials.size - this.finished - running),
      retries: this.#retries,
      costDone: this.#costDone,
      costTotal: this.#costTotal,
      elapsedMs: this.#wallMs + segmentMs,
    };
  }

  #settle(trial: Trial): void {
    this.#count[statusOf(this.attemptsOf(trial.id), this.#maxAttempts)]++;
    this.#costDone += trial.costEstimate;
  }
}
