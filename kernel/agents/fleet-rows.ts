import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { openDatabase } from '../store/database.ts';
import type { SavedRestarts } from './restart-policy.ts';
import type { SpawnRequest } from './spawn-request.ts';

/** Why an agent is there, as far as it does not change. */
export interface DesiredSpec {
  /** Caller id of who spawned it; of an operator's client 0, for its id means nothing to the next kernel. */
  readonly parentId: number;
  /** Agents it answers to, the nearest first. */
  readonly above: readonly number[];
  /** ms since the epoch. */
  readonly spawnedAt: number;
  readonly request: SpawnRequest;
  /** CLOVE_SEED of its environment. */
  readonly seed: string;
  /** Its script came from another agent, and is kept in the fleet's folder. */
  readonly isScriptKept: boolean;
}

export interface DesiredRestarts extends SavedRestarts {
  /** When the pending restart is due, ms since the epoch, and how long it was to wait; null = none is pending. */
  readonly pending: { readonly dueWallMs: number; readonly delayMs: number } | null;
}

/** As the parts that keep them write and read them. */
export interface DesiredAuthority {
  readonly permissions: unknown;
  readonly quotas: unknown;
}

/** An agent that the last kernel ran and the next one has to run. */
export interface DesiredAgent {
  readonly id: number;
  readonly name: string;
  readonly spec: DesiredSpec;
  readonly restart: DesiredRestarts;
  readonly authority: DesiredAuthority;
  /** Names it has registered besides its own. */
  readonly names: readonly string[];
}

export interface FleetRows {
  readonly agents: readonly DesiredAgent[];
  /** No agent id up to here may be given out again. */
  readonly usedId: number;
  /** Ids of those that were deleted because nobody wants them. */
  readonly forgotten: readonly number[];
}

const id = z.int().min(0);
const specSchema = z.strictObject({
  parentId: id,
  above: z.array(id),
  spawnedAt: z.number(),
  // Looked at when its turn to start comes: a kernel with ten thousand of them is to be ready before.
  request: z.custom<SpawnRequest>((value) => typeof value === 'object' && value !== null),
  seed: z.string(),
  isScriptKept: z.boolean(),
});
const restartSchema = z.strictObject({
  count: id,
  consecutive: id,
  recentWallMs: z.array(z.number()),
  pending: z.strictObject({ dueWallMs: z.number(), delayMs: z.number() }).nullable(),
});
const authoritySchema = z.strictObject({ permissions: z.unknown(), quotas: z.unknown() });

/** By id: a parent comes before its children. With 'forget' they are deleted. @throws DATA_CORRUPT, IO */
export function loadFleet(databasePath: string, onRestart: 'restart' | 'forget'): FleetRows {
  const database = openDatabase(databasePath);
  try {
    const rows = database.prepare('SELECT * FROM agents ORDER BY id').all();
    const used = database.prepare("SELECT value FROM counters WHERE name = 'agent_id'").get()?.value;
    const usedId = Math.max(Number(used ?? 0), Number(rows.at(-1)?.id ?? 0));
    if (onRestart === 'restart') {
      return { agents: rows.map((row) => parseRow(row)), usedId, forgotten: [] };
    }
    database.prepare('INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)').run('agent_id', usedId);
    database.exec('DELETE FROM agents');
    return { agents: [], usedId, forgotten: rows.map(({ id }) => Number(id)) };
  } finally {
    database.close();
  }
}

function parseRow(row: Record<string, unknown>): DesiredAgent {
  try {
    return {
      id: Number(row.id),
      name: String(row.name),
      spec: specSchema.parse(JSON.parse(String(row.spec))),
      restart: restartSchema.parse(JSON.parse(String(row.restart))),
      authority: authoritySchema.parse(JSON.parse(String(row.authority))),
      names: z.array(z.string()).parse(JSON.parse(String(row.names))),
    };
  } catch (error) {
    throw new CloveError('DATA_CORRUPT', `the stored agent ${String(row.id)} is not of its form`, {
      cause: error,
      hint: 'Start the kernel with --on-restart forget to go on without the agents it had.',
    });
  }
}
