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
const restartSchema = z.strictObject({
  count: id,
  consecutive: id,
  recentWallMs: z.array(z.number()),
  pending: z.strictObject({ dueWallMs: z.number(), delayMs: z.number() }).nullable(),
});
const authoritySchema = z.strictObject({ permissions: z.unknown(), quotas: z.unknown() });
const namesSchema = z.array(z.string());

/** By id: a parent comes before its children. With 'forget' they are deleted. @throws DATA_CORRUPT, IO */
export function loadFleet(databasePath: string, onRestart: 'restart' | 'forget'): FleetRows {
  const database = openDatabase(databasePath);
  try {
    const rows = database.prepare('SELECT * FROM agents ORDER BY id').all();
    const used = database.prepare("SELECT value FROM counters WHERE name = 'agent_id'").get()?.value;
    const usedId = Math.max(Number(used ?? 0), Number(rows.at(-1)?.id ?? 0));
    if (onRestart === 'restart') {
      const parse = rowParser();
      return { agents: rows.map((row) => parse(row)), usedId, forgotten: [] };
    }
    database.prepare('INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)').run('agent_id', usedId);
    database.exec('DELETE FROM agents');
    return { agents: [], usedId, forgotten: rows.map(({ id }) => Number(id)) };
  } finally {
    database.close();
  }
}

/** Ten thousand agents are to be read within a blink, and most of them are alike: the same text is the same object. */
function rowParser(): (row: Record<string, unknown>) => DesiredAgent {
  const restartOf = remembered((text) => restartSchema.parse(JSON.parse(text)));
  const authorityOf = remembered((text) => authoritySchema.parse(JSON.parse(text)));
  return (row) => {
    try {
      const name = String(row.name);
      const names = String(row.names);
      return {
        id: Number(row.id),
        name,
        spec: specOf(JSON.parse(String(row.spec))),
        restart: restartOf(String(row.restart)),
        authority: authorityOf(String(row.authority)),
        names: names === JSON.stringify([name]) ? [name] : namesSchema.parse(JSON.parse(names)),
      };
    } catch (error) {
      throw new CloveError('DATA_CORRUPT', `the stored agent ${String(row.id)} is not of its form`, {
        cause: error,
        hint: 'Start the kernel with --on-restart forget to go on without the agents it had.',
      });
    }
  };
}

function remembered<Value>(parse: (text: string) => Value): (text: string) => Value {
  const known = new Map<string, Value>();
  return (text) => known.getOrInsertComputed(text, parse);
}

const SPEC_MEMBERS: Readonly<Record<keyof DesiredSpec, (value: unknown) => boolean>> = {
  parentId: isId,
  above: (value) => Array.isArray(value) && value.every(isId),
  spawnedAt: Number.isFinite,
  // Looked at when its turn to start comes: a kernel with ten thousand of them is to be ready before.
  request: (value) => typeof value === 'object' && value !== null,
  seed: (value) => typeof value === 'string',
  isScriptKept: (value) => typeof value === 'boolean',
};
const SPEC_NAMES = Object.keys(SPEC_MEMBERS) as (keyof DesiredSpec)[];

function isId(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function specOf(value: unknown): DesiredSpec {
  if (typeof value !== 'object' || value === null) throw new TypeError('spec is no object');
  const spec = value as Readonly<Record<string, unknown>>;
  for (const name of SPEC_NAMES) if (!SPEC_MEMBERS[name](spec[name])) throw new TypeError(`spec.${name}`);
  const strange = Object.keys(spec).find((name) => !Object.hasOwn(SPEC_MEMBERS, name));
  if (strange !== undefined) throw new TypeError(`spec.${strange} is not known`);
  return value as DesiredSpec;
}
