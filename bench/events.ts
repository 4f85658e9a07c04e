import type { Attempt, Preparation, RunResults, RuntimeName, Trial } from './types.ts';

/** How far one runtime has come; sent after everything that changes it. */
export interface Progress {
  readonly runtime: RuntimeName;
  readonly trials: number;
  readonly passed: number;
  readonly failed: number;
  readonly notMeasured: number;
  readonly running: number;
  /** Waiting in the block under way or in blocks to come. */
  readonly queued: number;
  readonly retries: number;
  /** Sum of the cost estimates of trials with an outcome, and of all; with elapsedMs they give the time that is left. */
  readonly costDone: number;
  readonly costTotal: number;
  /** This runtime's own wall so far. */
  readonly elapsedMs: number;
}

/** What a run tells while it works, for a terminal. `text`s hold nothing of what trials print. */
export type BenchEvent =
  | {
      readonly kind: 'run';
      readonly runId: string;
      readonly runDirectory: string;
      readonly scenario: RunResults['scenario'];
      readonly trials: number;
      readonly runtimes: readonly RuntimeName[];
      readonly parallel: number;
      readonly blocks: number;
      readonly resumed: boolean;
      /** Trials × runtimes that have their outcome already. */
      readonly finished: number;
      readonly provenance: RunResults['provenance'];
    }
  | {
      readonly kind: 'prepare';
      readonly tasks: number;
      readonly cached: number;
      /** What is about to be done that takes long or changes something. */
      readonly announcements: readonly string[];
    }
  | {
      readonly kind: 'prepared';
      readonly preparation: Preparation;
      /** One line for the reader, from the scenario. */
      readonly description: string;
      readonly done: number;
      readonly tasks: number;
    }
  | {
      readonly kind: 'segment';
      readonly runtime: RuntimeName;
      readonly block: number;
      readonly blocks: number;
      readonly trials: number;
    }
  | {
      readonly kind: 'attempt-start';
      readonly runtime: RuntimeName;
      readonly trial: Trial;
      readonly attempt: number;
      readonly slot: number;
    }
  | {
      readonly kind: 'attempt-end';
      readonly trial: Trial;
      readonly attempt: Attempt;
      readonly willRetry: boolean;
    }
  | { readonly kind: 'progress'; readonly progress: Progress }
  | { readonly kind: 'host-crash'; readonly runtime: RuntimeName; readonly reason: string }
  /** A remark is how things are; what is none should be looked at before the figures are trusted. */
  | { readonly kind: 'notice'; readonly text: string; readonly isRemark: boolean };

export type BenchListener = (event: BenchEvent) => void;
