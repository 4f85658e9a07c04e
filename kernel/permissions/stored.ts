import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { digestOf, type Grants, LEVELS } from './grants.ts';
import { AGENT_HOME, levelGrants } from './levels.ts';
import { grantsOf, policyJson, policyRequest } from './policy.ts';

/** A level by its name, so that it is what the kernel that reads it means by it; anything else in full. */
const storedGrants = z.union([
  z.strictObject({ level: z.enum(LEVELS) }),
  z.strictObject({ policy: policyRequest }),
]);
const storedPrincipal = z.strictObject({ grants: storedGrants, ceiling: storedGrants.nullable() });

type StoredGrants = z.input<typeof storedGrants>;
/** Plain JSON. */
export type StoredPrincipal = z.input<typeof storedPrincipal>;

/** Of an agent: its home is part of what a level means. */
export function toStored(grants: Grants): StoredGrants {
  const { level } = grants;
  if (level !== 'custom' && digestOf(levelGrants(level, AGENT_HOME)) === digestOf(grants)) return { level };
  return { policy: policyJson(grants) };
}

interface Restored {
  readonly grants: Grants;
  readonly ceiling: Grants | null;
}

/** What was read from one object: agents that have the same share it. */
const restored = new WeakMap<object, Restored>();

/** @throws DATA_CORRUPT */
export function fromStored(value: unknown): Restored {
  if (typeof value !== 'object' || value === null) return parseStored(value);
  return restored.getOrInsertComputed(value, parseStored);
}

function parseStored(value: unknown): Restored {
  const parsed = storedPrincipal.safeParse(value);
  if (!parsed.success) {
    throw new CloveError('DATA_CORRUPT', 'stored permissions make no sense', { cause: parsed.error });
  }
  const { grants, ceiling } = parsed.data;
  return { grants: readGrants(grants), ceiling: ceiling === null ? null : readGrants(ceiling) };
}

function readGrants(stored: z.output<typeof storedGrants>): Grants {
  return 'level' in stored ? levelGrants(stored.level, AGENT_HOME) : grantsOf(stored.policy, AGENT_HOME);
}
