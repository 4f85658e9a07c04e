/** Computes a scenario's inputs once, side by side in a thread pool, before any trial; the same for every runtime. */
import { availableParallelism } from 'node:os';
import { Piscina } from 'piscina';
import { CloveError, errorFromData } from '../errors/index.ts';
import type { PrepareResult, PrepareTask } from './scenario.ts';
import type { Preparation } from './types.ts';

export interface PrepareOptions {
  readonly signal: AbortSignal;
  readonly onDone: (preparation: Preparation, done: number) => void;
}

/** In the order of the tasks. Rejects with what the first failing task gave as its error, or CANCELLED. */
export async function prepareAll(
  tasks: readonly PrepareTask[],
  options: PrepareOptions,
): Promise<Preparation[]> {
  if (tasks.length === 0) return [];
  let done = 0;
  const pool = new Piscina<PrepareTask['input'], PrepareResult>({
    minThreads: 0,
    maxThreads: Math.min(tasks.length, availableParallelism()),
    env: process.env,
  });
  try {
    return await Promise.all(
      tasks.map(async (task) => {
        const startedAt = performance.now();
        const facts = await compute(pool, task, options.signal);
        const preparation: Preparation = {
          name: task.name,
          key: task.key,
          from: task.cached ? 'cache' : 'computed',
          wallMs: performance.now() - startedAt,
          facts,
        };
        done++;
        options.onDone(preparation, done);
        return preparation;
      }),
    );
  } finally {
    await pool.destroy();
  }
}

async function compute(
  pool: Piscina<PrepareTask['input'], PrepareResult>,
  task: PrepareTask,
  signal: AbortSignal,
): Promise<Preparation['facts']> {
  let result: PrepareResult;
  try {
    result = await pool.run(task.input, { filename: task.module.href, signal });
  } catch (error) {
    if (signal.aborted) throw new CloveError('CANCELLED', `preparing ${task.name} was cancelled`);
    const message = error instanceof Error ? error.message : String(error);
    throw new CloveError('INTERNAL', `preparing ${task.name} failed: ${message}`, { cause: error });
  }
  if ('error' in result) throw errorFromData(result.error);
  return result.facts;
}
