import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { JsonText } from '../json.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import type { Expected } from '../state/expected.ts';
import { placeOf, publishChange, stateViewOf } from '../worlds/state-view.ts';
import { defineSyscall } from './define.ts';
import { json, MAX_TIMER_MS } from './fields.ts';
import { requireKey, scopeAnswer, scopeOf, storeScope, storing, ttlMsOf } from './state-fields.ts';

const MAX_WATCHED_KEYS = 256;
const MAX_CHANGES = 1000;

export const cas = defineSyscall({
  opcode: OPCODES.CAS,
  name: 'CAS',
  summary:
    'Stores a value if the key holds what is expected, in one step; tells what it holds. Answered when that is durable, as with STORE.',
  request: z.object({
    ...storing,
    expected: json
      .optional()
      .describe('The value it must hold, compared as JSON. With neither this nor `expected_version`: none.'),
    expected_version: z
      .int()
      .min(0)
      .nullish()
      .describe('The version it must have, in place of `expected`; 0 = there must be none.'),
  }),
  response: z.object({
    success: z.literal(true),
    swapped: z.boolean(),
    key: z.string(),
    scope: scopeAnswer,
    exists: z.boolean().describe('Whether there is a value now.'),
    value: json.describe('What is there now; null where there is none.'),
    version: z
      .int()
      .describe('Of what is there now; 0 = nothing is. Of the deletion, where the lifetime was 0.'),
  }),
  permission: 'state.write',
  audit: 'STATE_STORE',
  replay: 'recorded',
  errorShape: { swapped: false },
  async handle(request, context) {
    const { caller } = context;
    const key = requireKey(request.key);
    const scope = scopeOf(request.scope);
    const text = JSON.stringify(request.value);
    const view = stateViewOf(context);
    const place = placeOf(view, scope);
    const swap = { key, scope: place.scope, text, ttlMs: ttlMsOf(request.ttl) };
    const { swapped, ...now } = await place.store.swap(caller.id, swap, expectedOf(request));
    if (swapped && place.scope === 'global') {
      const action = now.text === null ? 'delete' : 'store';
      publishChange(context, view, { key, action, agent_id: caller.id, version: now.version });
    }
    return {
      success: true as const,
      swapped,
      key,
      scope,
      exists: now.text !== null,
      value: now.text === null ? null : new JsonText(now.text),
      version: now.version,
    };
  },
});

function expectedOf(request: {
  readonly expected?: unknown;
  readonly expected_version?: number | null | undefined;
}): Expected {
  const { expected, expected_version: version } = request;
  if (version === undefined || version === null) {
    return expected === undefined ? { kind: 'absent' } : { kind: 'value', value: expected };
  }
  if (expected !== undefined) {
    throw new CloveError('BAD_REQUEST', 'invalid request: either expected or expected_version');
  }
  return { kind: 'version', version };
}

export const watch = defineSyscall({
  opcode: OPCODES.WATCH,
  name: 'WATCH',
  summary:
    'Waits for changes of keys, in their order, none left out. To go on, ask again with the version of the answer.',
  request: z.object({
    keys: z.array(z.string()).min(1).max(MAX_WATCHED_KEYS).nullish().describe('These keys.'),
    prefix: z.string().nullish().describe('Instead: all keys that begin so; "" = all.'),
    scope: storeScope,
    since_version: z
      .int()
      .min(0)
      .nullish()
      .describe('Changes behind this version, such as that of a FETCH; absent = from now on.'),
    timeout_ms: z.int().min(0).max(MAX_TIMER_MS).nullish().describe('Default: no limit.'),
    limit: z.int().min(1).max(MAX_CHANGES).default(MAX_CHANGES),
  }),
  response: z.object({
    success: z.literal(true),
    changes: z
      .array(
        z.object({
          key: z.string(),
          version: z.int(),
          deleted: z.boolean(),
          value: json.describe('null where it was deleted.'),
          previous_value: json.describe('null where there was none, or after a resync.'),
          previous_exists: z.boolean(),
          agent_id: z.int().describe('Who did it; 0 = its lifetime was over, or it is not known.'),
        }),
      )
      .describe('Oldest first; empty when none came in time.'),
    count: z.int(),
    version: z.int().describe('`since_version` of the next call.'),
    more: z.boolean().describe('There are others right now.'),
    resync: z
      .boolean()
      .describe(
        'Not all changes since then are still known. `changes` are the watched keys that have changed, as they are now; of `keys` also those that are not there. Others may have been deleted.',
      ),
  }),
  permission: 'state.read',
  audit: 'STATE_STORE',
  replay: 'recorded',
  errorShape: { changes: [], count: 0 },
  async handle(request, context) {
    const { caller, signal } = context;
    const { keys, prefix } = request;
    if ((keys ?? null) === null && (prefix ?? null) === null) {
      throw new CloveError('BAD_REQUEST', 'invalid request: keys or prefix required');
    }
    const place = placeOf(stateViewOf(context), scopeOf(request.scope));
    const watched = {
      keys: keys === undefined || keys === null ? null : new Set(keys),
      prefix: prefix ?? '',
      scope: place.scope,
      sinceVersion: request.since_version ?? null,
      timeoutMs: request.timeout_ms ?? null,
      limit: request.limit,
    };
    const result = await place.store.watch(caller.id, watched, signal);
    const changes = result.changes.map((change) => ({
      key: change.key,
      version: change.version,
      deleted: change.text === null,
      value: change.text === null ? null : new JsonText(change.text),
      previous_value: change.previousText === null ? null : new JsonText(change.previousText),
      previous_exists: change.previousText !== null,
      agent_id: change.callerId,
    }));
    const { version, more, resync } = result;
    return { success: true as const, changes, count: changes.length, version, more, resync };
  },
});
