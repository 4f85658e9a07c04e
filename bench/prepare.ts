/** Computes a scenario's inputs once, side by side in a thread pool, before any trial; the same for every runtime. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Piscina } from 'piscina';
import { CloveError, errorFromData, isErrorCode } from '../errors/index.ts';
import type { PrepareTask } from './scenario.ts';
import type { Preparation } from './types.ts';

export interface PrepareOptions {
  readonly cacheDirectory: string;
  readonly signal: AbortSignal;
  readonly onDone: (preparation: Preparation, done: number) => void;
}

/** In the order of the tasks. Rejects with what the first failing task threw, or CANCELLED. */
export async function prepareAll(
  tasks: readonly PrepareTask[],
  options: PrepareOptions,
): Promise<Preparation[]> {
  if (tasks.length === 0) return [];
  const factsDirectory = join(options.cacheDirectory, 'preparations');
  mkdirSync(factsDirectory, { recursive: true });
  let done = 0;
  const finish = (preparation: Preparation) => {
    done++;
    options.onDone(preparation, done);
    return preparation;
  };
  const known = tasks.map((task) => (task.cached ? readFacts(factsDirectory, task.key) : null));
  const missing = known.filter((facts) => facts === null).length;
  const pool =
    missing === 0
      ? null
      : new Piscina({ minThreads: 0, maxThreads: Math.min(missing, availableParallelism()) });
  try {
    return await Promise.all(
      tasks.map(async (task, index) => {
        const startedAt = performance.now();
        const facts = known[index];
        if (facts !== null && facts !== undefined)
          return finish({ name: task.name, key: task.key, from: 'cache', wallMs: 0, facts });
        const computed = await compute(pool as Piscina, task, options.signal);
        writeFacts(factsDirectory, task.key, computed);
        const wallMs = performance.now() - startedAt;
        const from = task.cached ? 'cache' : 'computed';
        return finish({ name: task.name, key: task.key, from, wallMs, facts: computed });
      }),
    );
  } finally {
    await pool?.destroy();
  }
}

async function compute(pool: Piscina, task: PrepareTask, signal: AbortSignal): Promise<Preparation['facts']> {
  try {
    return await pool.run(task.input, { filename: task.module.href, signal });
  } catch (error) {
    if (signal.aborted) throw new CloveError('CANCELLED', `preparing ${task.name} was cancelled`);
    // Errors lose their class on the way out of a thread, and their code unless the task took care of it.
    if (error instanceof Error && 'code' in error && isErrorCode(error.code)) throw errorFromData(error);
    const message = error instanceof Error ? error.message : String(error);
    throw new CloveError('INTERNAL', `preparing ${task.name} failed: ${message}`, { cause: error });
  }
}

function readFacts(directory: string, key: string): Preparation['facts'] | null {
  try {
    return JSON.parse(readFileSync(join(directory, `${key}.json`), 'utf8'));
  } catch {
    return null;
  }
}

function writeFacts(directory: string, key: string, facts: Preparation['facts']): void {
  const path = join(directory, `${key}.json`);
  const partial = `${path}.${process.pid}.tmp`;
  writeFileSync(partial, JSON.stringify(facts));
  renameSync(partial, path);
}
