import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import type { EventType } from '../events/event-bus.ts';
import { openDatabase } from '../store/database.ts';
import type { DurableStore } from '../store/durable-store.ts';
import type { Group } from './nodes.ts';
import { SupervisionTree } from './tree.ts';
import { type Command, type GroupSpec, type SavedGroup, STRATEGIES } from './types.ts';

const number = z.number();
const specSchema = z.strictObject({
  name: z.string(),
  parent: z.string().nullable(),
  strategy: z.enum(STRATEGIES),
  order: number,
  maxRestarts: number,
  windowMs: number,
  backoffBaseMs: number,
  backoffCapMs: number,
});
const savedSchema = z.strictObject({
  recentWallMs: z.array(number),
  consecutive: number,
  hasFailed: z.boolean(),
});

export interface GroupRow {
  readonly spec: GroupSpec;
  readonly saved: SavedGroup;
}

/** Those that the last kernel had; parents first. With 'forget' they are deleted. @throws DATA_CORRUPT, IO */
export function loadGroups(databasePath: string, onRestart: 'restart' | 'forget'): GroupRow[] {
  const database = openDatabase(databasePath);
  try {
    if (onRestart === 'forget') database.exec('DELETE FROM agent_groups');
    const rows = database.prepare('SELECT * FROM agent_groups ORDER BY name').all();
    return parentsFirst(rows.map(parseRow));
  } finally {
    database.close();
  }
}

function parseRow(row: Record<string, unknown>): GroupRow {
  try {
    return {
      spec: specSchema.parse(JSON.parse(String(row.spec))),
      saved: savedSchema.parse(JSON.parse(String(row.saved))),
    };
  } catch (error) {
    throw new CloveError('DATA_CORRUPT', `the stored group ${String(row.name)} is not of its form`, {
      cause: error,
      hint: 'Start the kernel with --on-restart forget to go on without the agents and groups it had.',
    });
  }
}

function parentsFirst(rows: readonly GroupRow[]): GroupRow[] {
  const depthOf = (row: GroupRow): number => {
    const parent = rows.find(({ spec }) => spec.name === row.spec.parent);
    return parent === undefined ? 0 : 1 + depthOf(parent);
  };
  return rows.toSorted((a, b) => depthOf(a) - depthOf(b));
}

export interface GroupRegistryOptions {
  readonly store: DurableStore;
  readonly rows: readonly GroupRow[];
  readonly random?: () => number;
}

/** Between two starts of agents of the last kernel. */
const PACED_GAP_MS = 20;

/** The groups of the supervision trees, which outlive the kernel with what they remember. */
export class GroupRegistry {
  readonly tree: SupervisionTree;
  readonly #store: DurableStore;
  /** As it was last written. JSON */
  readonly #written = new Map<string, string>();

  constructor({ store, rows, random = Math.random }: GroupRegistryOptions) {
    this.#store = store;
    this.tree = new SupervisionTree({ pacedGapMs: PACED_GAP_MS, random });
    const now = clocks();
    for (const { spec, saved } of rows) {
      this.tree.setGroup(spec);
      const group = this.tree.group(spec.name);
      if (group === undefined) continue;
      group.intensity.restore(saved.recentWallMs, now);
      group.backoff.restore({ count: 0, consecutive: saved.consecutive, recentWallMs: [] }, now);
      group.hasFailed = saved.hasFailed;
    }
  }

  list(): readonly Group[] {
    return this.tree.groups();
  }

  memberIdsOf(name: string): number[] {
    if (this.tree.group(name) === undefined) throw new CloveError('NOT_FOUND', `there is no group ${name}`);
    return this.tree.memberIdsOf(name);
  }

  /** The group and all below it, parents first. @throws NOT_FOUND */
  namesBelow(name: string): string[] {
    const names = [name];
    for (const each of names) {
      for (const { spec } of this.list()) if (spec.parent === each) names.push(spec.name);
    }
    return names;
  }

  /** Resolves when it is on disk. @throws NOT_FOUND, BAD_REQUEST, IO */
  async set(spec: GroupSpec): Promise<void> {
    const before = this.tree.group(spec.name)?.spec ?? null;
    this.tree.setGroup(spec);
    const group = this.tree.group(spec.name) as Group;
    const saved = JSON.stringify(savedOf(group));
    this.#written.set(spec.name, saved);
    await this.#store.write([['group.put', spec.name, JSON.stringify(spec), saved]], () => {
      if (before !== null) this.tree.setGroup(before);
      else if (group.nodes.length === 0) this.tree.removeGroup(spec.name);
    });
  }

  /** @throws NOT_FOUND, CONFLICT while it has members, IO */
  async remove(name: string): Promise<void> {
    this.tree.removeGroup(name);
    this.#written.delete(name);
    await this.#store.write([['group.delete', name]]);
  }

  /** What a group and those above it remember has changed. Not waited for: nobody was promised anything. */
  save(name: string): void {
    for (let group = this.tree.group(name) ?? null; group !== null; group = group.parent) {
      const saved = JSON.stringify(savedOf(group));
      const { name } = group.spec;
      if (this.#written.get(name) === saved) continue;
      this.#written.set(name, saved);
      this.#store.write([['group.saved', saved, name]]).catch(() => {});
    }
  }

  announce(
    command: Extract<Command, { readonly kind: 'group_restarting' | 'group_escalated' }>,
    say: (type: EventType, data: Readonly<Record<string, unknown>>) => void,
  ): void {
    if (command.kind === 'group_restarting') {
      say('GROUP_RESTARTING', {
        group: command.group,
        strategy: command.strategy,
        agent_id: command.causeId,
        agents: command.memberIds,
        delay_ms: command.delayMs,
      });
    } else say('GROUP_ESCALATED', { group: command.group, to: command.to, agent_id: command.causeId });
    this.save(command.group);
  }
}

function savedOf({ intensity, backoff, hasFailed }: Group): SavedGroup {
  const now = clocks();
  return { recentWallMs: intensity.save(now), consecutive: backoff.save(now).consecutive, hasFailed };
}

function clocks() {
  return { monotonicMs: performance.now(), wallMs: Date.now() };
}
