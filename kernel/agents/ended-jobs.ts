import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { FIRST_CLIENT_ID } from '../identity.ts';
import { openDatabase } from '../store/database.ts';
import type { DurableStore } from '../store/durable-store.ts';
import type { Agent } from './agent.ts';
import { newAgent, SETUP_EXIT, withoutBulk } from './new-agent.ts';
import { pendingPlan } from './plan.ts';
import { spawnRequest } from './spawn-request.ts';

/** More of them are not known to later kernels: the latest are. */
const KEPT = 1000;
const PREFIX = 'ended/';

const rowSchema = z.strictObject({
  id: z.int().min(1),
  labels: z.record(z.string(), z.string()),
  spawnedAt: z.number(),
  endedAt: z.number(),
  restarts: z.int().min(0),
});

export interface EndedJob extends z.output<typeof rowSchema> {
  readonly name: string;
}

/** Of earlier kernels, the first to end first. With 'forget' they are deleted. @throws DATA_CORRUPT, IO */
export function loadEndedJobs(databasePath: string, onRestart: 'restart' | 'forget'): EndedJob[] {
  const database = openDatabase(databasePath);
  try {
    if (onRestart === 'forget') database.prepare('DELETE FROM settings WHERE name LIKE ?').run(`${PREFIX}%`);
    const rows = database.prepare('SELECT name, value FROM settings WHERE name LIKE ?').all(`${PREFIX}%`);
    return rows
      .map(({ name, value }) => ({
        name: String(name).slice(PREFIX.length),
        ...rowSchema.parse(JSON.parse(String(value))),
      }))
      .sort((a, b) => a.endedAt - b.endedAt);
  } catch (error) {
    if (error instanceof CloveError) throw error;
    throw new CloveError('DATA_CORRUPT', 'what is stored of agents that have ended is not of its form', {
      cause: error,
      hint: 'Start the kernel with --on-restart forget to go on without the agents it had.',
    });
  } finally {
    database.close();
  }
}

/**
 * Agents with labels that did what they were there for: an operator started them, and they ended by themselves with status 0. Who
 * declared them finds by the labels that they are done, also after the kernel was restarted, and does not start them again.
 */
export class EndedJobs {
  readonly #store: DurableStore;
  /** The latest last. */
  readonly #names: Set<string>;

  constructor(store: DurableStore, loaded: readonly EndedJob[]) {
    this.#store = store;
    this.#names = new Set(loaded.map(({ name }) => name));
  }

  /** null = it is none. @throws IO */
  record({ id, name, parentId, labels, spawnedAt, lastExit, restart }: Agent): Promise<void> | null {
    const isOfOperator = parentId === 0 || parentId >= FIRST_CLIENT_ID;
    if (!isOfOperator || lastExit === null || Object.keys(labels).length === 0) return null;
    this.#names.delete(name);
    this.#names.add(name);
    const row = { id, labels, spawnedAt, endedAt: lastExit.endedAt, restarts: restart.count };
    const [oldest = name] = this.#names;
    const isFull = this.#names.size > KEPT;
    if (isFull) this.#names.delete(oldest);
    return this.#store.write([
      ['setting.put', `${PREFIX}${name}`, JSON.stringify(row)],
      ...(isFull ? [['setting.delete', `${PREFIX}${oldest}`] as const] : []),
    ]);
  }
}

/** As it is remembered by the kernel that ran it, but for its output and what it used. */
export function endedAgent({ id, name, labels, spawnedAt, endedAt, restarts }: EndedJob): Agent {
  const plan = pendingPlan(spawnRequest.parse({ command: ['-'] }), name);
  const agent = newAgent(id, 0, plan);
  agent.restart.count = restarts;
  return {
    ...agent,
    plan: withoutBulk(agent.plan),
    labels,
    spawnedAt,
    state: 'stopped',
    lastExit: {
      ...SETUP_EXIT,
      reason: 'exited',
      exitCode: 0,
      agentId: id,
      name,
      endedAt,
      restartCount: restarts,
    },
  };
}
