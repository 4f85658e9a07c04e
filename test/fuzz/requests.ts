import { z } from 'zod';
import type { SyscallName } from '../../kernel/protocol/opcodes.ts';
import { SYSCALLS } from '../../kernel/syscalls/table.ts';
import type { Random } from './random.ts';

type JsonSchema = Readonly<Record<string, unknown>>;

/** What answers named: ids, names, keys, versions. Requests are about these more often than about nothing. */
export class Seen {
  readonly #values = new Map<string, unknown[]>();

  /** Members of an answer, at any depth, by their names. */
  learn(value: unknown, name = ''): void {
    if (Array.isArray(value)) {
      for (const item of value.slice(0, 8)) this.learn(item, name);
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, member] of Object.entries(value).slice(0, 32)) this.learn(member, key);
    } else if (/(^|_)(id|name|key|keys|version|seq|to|state|scope|digest|subscribed)$/.test(name)) {
      const known = this.#values.getOrInsertComputed(name.replace(/s$/, ''), () => []);
      known.push(value);
      if (known.length > 64) known.shift();
    }
  }

  pick(random: Random, name: string): unknown {
    const exact = this.#values.get(name.replace(/s$/, ''));
    const known = exact !== undefined && !random.isOneIn(4) ? exact : [...this.#values.values()].flat();
    return known.length === 0 ? null : random.pick(known);
  }
}

/** Values that something may stumble over. */
const ODD: readonly unknown[] = [
  0,
  -1,
  -0,
  1,
  1.5,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 53,
  1e308,
  '',
  ' ',
  '0',
  'null',
  '__proto__',
  'constructor',
  '../..',
  '/proc/self/environ',
  '*',
  '\u0000',
  '\ud800',
  '\u202e',
  'x'.repeat(5000),
  true,
  false,
  null,
  [],
  {},
  [[[]]],
  { a: { b: { c: null } } },
];

const schemas = new Map<SyscallName, JsonSchema>(
  SYSCALLS.map(({ name, request }) => [
    name,
    z.toJSONSchema(request as z.ZodType, { io: 'input', unrepresentable: 'any' }) as JsonSchema,
  ]),
);

/** A request that is of its form for the most part. */
export function makeRequest(name: SyscallName, random: Random, seen: Seen): unknown {
  if (random.isOneIn(40)) return random.pick(ODD);
  const made = valueFor(schemas.get(name) ?? {}, name, random, seen, 0);
  if (typeof made !== 'object' || made === null || Array.isArray(made)) return made;
  return bounded(made, name);
}

/** Calls that wait without limit unless they are told one. */
const ENDLESS = new Set<SyscallName>(
  [...schemas]
    .filter(([, schema]) => Object.hasOwn((schema.properties ?? {}) as object, 'timeout_ms'))
    .map(([name]) => name)
    .filter((name) => !['SPAWN', 'TASK_CREATE'].includes(name)),
);

/** Nothing here may wait for long: the run is to be many calls. */
function bounded(request: object, syscall: SyscallName): object {
  const limits: Readonly<Record<string, number>> = {
    timeout_ms: 30,
    timeout: 0.3,
    grace_ms: 50,
    drain_ms: 50,
    ready_ms: 20,
    ms: 5,
    backoff_ms: 20,
  };
  const known = request as Record<string, unknown>;
  if (ENDLESS.has(syscall)) known.timeout_ms = 20;
  for (const [name, most] of Object.entries(limits)) {
    if (typeof known[name] === 'number') known[name] = Math.min(known[name], most);
  }
  return known;
}

function valueFor(schema: JsonSchema, name: string, random: Random, seen: Seen, depth: number): unknown {
  if (random.isOneIn(60)) return random.pick(ODD);
  const choices = (schema.anyOf ?? schema.oneOf) as readonly JsonSchema[] | undefined;
  if (choices !== undefined) return valueFor(random.pick(choices), name, random, seen, depth);
  if (schema.const !== undefined) return schema.const;
  if (Array.isArray(schema.enum)) return random.pick(schema.enum);
  const type = Array.isArray(schema.type) ? random.pick(schema.type) : schema.type;
  switch (type) {
    case 'object':
      return objectOf(schema, random, seen, depth);
    case 'array': {
      const items = (schema.items ?? {}) as JsonSchema;
      const count = Math.max(Number(schema.minItems ?? 0), random.below(depth > 3 ? 1 : 3));
      return Array.from({ length: count }, () => valueFor(items, name, random, seen, depth + 1));
    }
    case 'string':
      return textOf(schema, name, random, seen);
    case 'integer':
    case 'number':
      return numberOf(schema, name, random, seen);
    case 'boolean':
      return random.isOneIn(2);
    case 'null':
      return null;
    default:
      return random.isOneIn(2) ? seen.pick(random, name) : random.pick(ODD);
  }
}

function objectOf(schema: JsonSchema, random: Random, seen: Seen, depth: number): unknown {
  const properties = Object.entries((schema.properties ?? {}) as Record<string, JsonSchema>);
  const required = new Set((schema.required ?? []) as readonly string[]);
  const made: Record<string, unknown> = {};
  for (const [name, property] of properties) {
    if (depth > 4 || (!required.has(name) && !random.isOneIn(3))) continue;
    made[name] = valueFor(property, name, random, seen, depth + 1);
  }
  if (properties.length === 0 && schema.additionalProperties !== undefined && depth < 3) {
    made[`k${random.below(4)}`] = valueFor(
      (schema.additionalProperties || {}) as JsonSchema,
      '',
      random,
      seen,
      depth + 1,
    );
  }
  return made;
}

function textOf(schema: JsonSchema, name: string, random: Random, seen: Seen): unknown {
  const known = seen.pick(random, name);
  if (typeof known === 'string' && !random.isOneIn(3)) return known;
  const most = Number(schema.maxLength ?? 40);
  return `${name}-${random.below(6)}`.slice(0, Math.max(1, most));
}

function numberOf(schema: JsonSchema, name: string, random: Random, seen: Seen): unknown {
  const known = seen.pick(random, name);
  if (typeof known === 'number' && !random.isOneIn(3)) return known;
  const least = Number(schema.minimum ?? 0);
  const most = Math.min(Number(schema.maximum ?? least + 50), least + 50);
  const value = least + random.next() * (most - least);
  return schema.type === 'integer' ? Math.floor(value) : value;
}
