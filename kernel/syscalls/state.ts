import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { JsonText } from '../json.ts';
import { STATE_SCOPES, type StateScope } from '../state/state-store.ts';
import { defineSyscall } from './define.ts';
import { json } from './fields.ts';

/** Keys of one answer. */
const MAX_KEYS = 10_000;

/** Any text, so that a scope of another generation of clients is refused by name and not by a type error. */
const scopeName = z
  .string()
  .optional()
  .describe(
    `One of ${STATE_SCOPES.join(', ')}. Absent: where a key is looked up, the caller’s session, then its own, then the global scope.`,
  );

export const store = defineSyscall({
  opcode: 0x30,
  name: 'STORE',
  summary:
    'Stores a JSON value under a key. Answered when it is durable, where the kernel has a data directory and the scope is global.',
  request: z.object({
    key: z.string().default(''),
    value: json.default(null),
    scope: z
      .string()
      .default('global')
      .describe(
        'global: one for all. agent: the caller’s own, for as long as it exists. session: the caller’s own, until its process or connection ends.',
      ),
    ttl: z.number().nullish().describe('Lifetime in seconds; 0 or less = gone at once; absent = for ever.'),
  }),
  response: z.object({ success: z.literal(true), key: z.string(), scope: z.enum(STATE_SCOPES) }),
  permission: 'state.write',
  audit: 'STATE_STORE',
  replay: 'deterministic',
  async handle(request, { kernel, caller }) {
    const { key } = request;
    const scope = scopeOf(request.scope);
    const ttlMs = request.ttl === undefined || request.ttl === null ? null : request.ttl * 1000;
    await kernel.state.store(caller.id, { key, scope, ttlMs, text: JSON.stringify(request.value) });
    if (scope === 'global') {
      kernel.events.publish('STATE_CHANGED', { key, action: 'store', agent_id: caller.id }, caller.id);
    }
    return { success: true as const, key, scope };
  },
});

export const fetch = defineSyscall({
  opcode: 0x31,
  name: 'FETCH',
  summary: 'Reads the value of a key.',
  request: z.object({ key: z.string().default(''), scope: scopeName }),
  response: z.object({
    success: z.literal(true),
    exists: z.boolean(),
    found: z.boolean().describe('As `exists`.'),
    value: json.describe('null where there is none.'),
    scope: z.enum(STATE_SCOPES).optional().describe('Where it was found.'),
  }),
  permission: 'state.read',
  audit: 'STATE_STORE',
  replay: 'recorded',
  errorShape: { exists: false, found: false, value: null },
  handle(request, { kernel, caller }) {
    const found = kernel.state.fetch(caller.id, requireKey(request.key), optionalScope(request.scope));
    if (found === null) return { success: true as const, exists: false, found: false, value: null };
    const value = new JsonText(found.text);
    return { success: true as const, exists: true, found: true, value, scope: found.scope };
  },
});

export const remove = defineSyscall({
  opcode: 0x32,
  name: 'DELETE',
  summary: 'Deletes a key: the one that FETCH would have found.',
  request: z.object({ key: z.string().default(''), scope: scopeName }),
  response: z.object({
    success: z.literal(true),
    deleted: z.boolean(),
    scope: z.enum(STATE_SCOPES).optional().describe('Where it was.'),
  }),
  permission: 'state.write',
  audit: 'STATE_STORE',
  replay: 'deterministic',
  errorShape: { deleted: false },
  async handle(request, { kernel, caller }) {
    const key = requireKey(request.key);
    const scope = await kernel.state.delete(caller.id, key, optionalScope(request.scope));
    if (scope === 'global') {
      kernel.events.publish('STATE_CHANGED', { key, action: 'delete', agent_id: caller.id }, caller.id);
    }
    return { success: true as const, deleted: scope !== null, ...(scope === null ? {} : { scope }) };
  },
});

export const keys = defineSyscall({
  opcode: 0x33,
  name: 'KEYS',
  summary: 'Lists the keys the caller can read, sorted by code unit, each once.',
  request: z.object({
    prefix: z.string().default(''),
    scope: scopeName,
    after: z.string().default('').describe('Only keys behind this one: the last key of the previous answer.'),
    limit: z.int().min(1).max(MAX_KEYS).default(MAX_KEYS),
  }),
  response: z.object({
    success: z.literal(true),
    keys: z.array(z.string()),
    count: z.int(),
    more: z.boolean().describe('There are others behind the last one.'),
  }),
  permission: 'state.read',
  audit: 'STATE_STORE',
  replay: 'recorded',
  errorShape: { keys: [], count: 0 },
  handle(request, { kernel, caller }) {
    const { prefix, after, limit } = request;
    const scope = optionalScope(request.scope);
    const listed = kernel.state.keys(caller.id, { prefix, after, limit, scope });
    return { success: true as const, keys: listed.keys, count: listed.keys.length, more: listed.more };
  },
});

export const stateSyscalls = [store, fetch, remove, keys] as const;

function requireKey(key: string): string {
  if (key === '') throw new CloveError('BAD_REQUEST', 'key is required');
  return key;
}

function optionalScope(scope: string | undefined): StateScope | null {
  return scope === undefined || scope === '' ? null : scopeOf(scope);
}

/** An unknown scope is never taken for another: what was meant to be private would be everybody's. */
function scopeOf(scope: string): StateScope {
  if ((STATE_SCOPES as readonly string[]).includes(scope)) return scope as StateScope;
  throw new CloveError('BAD_REQUEST', `invalid request: unknown scope "${scope}"`, {
    hint: `Scopes are ${STATE_SCOPES.join(', ')}.`,
  });
}
