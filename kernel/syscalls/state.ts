import { z } from 'zod';
import { JsonText } from '../json.ts';
import { fetchIn, keysIn, placeOf, publishChange, stateViewOf } from '../worlds/state-view.ts';
import { defineSyscall } from './define.ts';
import { json } from './fields.ts';
import { cas, watch } from './state-changes.ts';
import {
  optionalScope,
  requireKey,
  scopeAnswer,
  scopeName,
  scopeOf,
  storing,
  ttlMsOf,
  version,
} from './state-fields.ts';

/** Keys of one answer. */
const MAX_KEYS = 10_000;

export const store = defineSyscall({
  opcode: 0x30,
  name: 'STORE',
  summary:
    'Stores a JSON value under a key. Answered when it is durable, where the kernel has a data directory and the scope is global.',
  request: z.object(storing),
  response: z.object({ success: z.literal(true), key: z.string(), scope: scopeAnswer, version }),
  permission: 'state.write',
  audit: 'STATE_STORE',
  replay: 'deterministic',
  unstable: ['version'],
  async handle(request, context) {
    const { caller } = context;
    const { key } = request;
    const scope = scopeOf(request.scope);
    const ttlMs = ttlMsOf(request.ttl);
    const text = JSON.stringify(request.value);
    const view = stateViewOf(context);
    const place = placeOf(view, scope);
    const version = await place.store.store(caller.id, { key, scope: place.scope, ttlMs, text });
    if (place.scope === 'global') {
      publishChange(context, view, { key, action: 'store', agent_id: caller.id, version });
    }
    return { success: true as const, key, scope, version };
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
    scope: scopeAnswer.optional().describe('Where it was found.'),
    version: z.int().optional().describe('Of the change that stored it.'),
  }),
  permission: 'state.read',
  audit: 'STATE_STORE',
  replay: 'recorded',
  errorShape: { exists: false, found: false, value: null },
  handle(request, context) {
    const key = requireKey(request.key);
    const found = fetchIn(stateViewOf(context), context.caller.id, key, optionalScope(request.scope));
    if (found === null) return { success: true as const, exists: false, found: false, value: null };
    const value = new JsonText(found.text);
    const { scope, version } = found;
    return { success: true as const, exists: true, found: true, value, scope, version };
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
    scope: scopeAnswer.optional().describe('Where it was.'),
    version: z.int().optional().describe('Of the deletion.'),
  }),
  permission: 'state.write',
  audit: 'STATE_STORE',
  replay: 'recorded',
  errorShape: { deleted: false },
  async handle(request, context) {
    const { caller } = context;
    const key = requireKey(request.key);
    const view = stateViewOf(context);
    const found = fetchIn(view, caller.id, key, optionalScope(request.scope));
    const deleted = (await found?.store.delete(caller.id, key, found.scope)) ?? null;
    if (deleted === null) return { success: true as const, deleted: false };
    const { scope, version } = deleted;
    if (scope === 'global') {
      publishChange(context, view, { key, action: 'delete', agent_id: caller.id, version });
    }
    return { success: true as const, deleted: true, scope, version };
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
  handle(request, context) {
    const { prefix, after, limit } = request;
    const scope = optionalScope(request.scope);
    const listed = keysIn(stateViewOf(context), context.caller.id, { prefix, after, limit, scope });
    return { success: true as const, keys: listed.keys, count: listed.keys.length, more: listed.more };
  },
});

export const stateSyscalls = [store, fetch, remove, keys, cas, watch] as const;
