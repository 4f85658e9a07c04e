import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { openDatabase } from '../store/database.ts';
import { TASK_STATES, type Task } from './task.ts';

const count = z.int().min(0);
const schema = z.strictObject({
  id: count,
  kind: z.string(),
  title: z.string(),
  payload: z.string(),
  state: z.enum(TASK_STATES),
  creatorId: count,
  assigneeId: count.nullable(),
  attempts: count,
  maxAttempts: count,
  leaseMs: count,
  leaseWallMs: z.number().nullable(),
  priority: z.int(),
  dependsOn: z.array(count),
  deadlineWallMs: z.number().nullable(),
  result: z.string().nullable(),
  error: z.string().nullable(),
  createdWallMs: z.number(),
  changedWallMs: z.number(),
});

export interface TaskRows {
  /** By id. */
  readonly tasks: readonly Task[];
  /** No id up to here may be given out again. */
  readonly usedId: number;
}

/** @throws DATA_CORRUPT, IO */
export function loadTasks(databasePath: string): TaskRows {
  const database = openDatabase(databasePath);
  try {
    const rows = database.prepare('SELECT body FROM tasks ORDER BY id').all();
    const used = database.prepare("SELECT value FROM counters WHERE name = 'task_id'").get()?.value;
    const tasks = rows.map(({ body }) => schema.parse(JSON.parse(String(body))));
    return { tasks, usedId: Math.max(Number(used ?? 0), tasks.at(-1)?.id ?? 0) };
  } catch (error) {
    if (error instanceof CloveError) throw error;
    throw new CloveError('DATA_CORRUPT', 'a stored task is not of its form', { cause: error });
  } finally {
    database.close();
  }
}
