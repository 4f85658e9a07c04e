import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { STATE_SCOPES } from '../state/space.ts';
import type { AskedScope } from '../worlds/state-view.ts';
import { json } from './fields.ts';

const SCOPES = [...STATE_SCOPES, 'world'] as const;

/** Where a key was found, or stored. */
export const scopeAnswer = z.enum(SCOPES);

/** Any text, so that a scope of another generation of clients is refused by name and not by a type error. */
export const scopeName = z
  .string()
  .optional()
  .describe(
    `One of ${SCOPES.join(', ')}. Absent: where a key is looked up, the caller’s session, then its own, then the global scope.`,
  );

export const storeScope = z
  .string()
  .default('global')
  .describe(
    'global: one for all (in a world: for all in it; world is the same, but an error outside of one). agent: the caller’s own, for as long as it exists. session: the caller’s own, until its process or connection ends.',
  );

/** Request fields of what stores a value. */
export const storing = {
  key: z.string().default(''),
  value: json.default(null),
  scope: storeScope,
  ttl: z.number().nullish().describe('Lifetime in seconds; 0 or less = gone at once; absent = for ever.'),
};

export const version = z
  .int()
  .describe('Of the change: higher than those of all changes before; 0 = nothing was changed.');

export function requireKey(key: string): string {
  if (key === '') throw new CloveError('BAD_REQUEST', 'key is required');
  return key;
}

export function optionalScope(scope: string | undefined): AskedScope | null {
  return scope === undefined || scope === '' ? null : scopeOf(scope);
}

/** An unknown scope is never taken for another: what was meant to be private would be everybody's. */
export function scopeOf(scope: string): AskedScope {
  if ((SCOPES as readonly string[]).includes(scope)) return scope as AskedScope;
  throw new CloveError('BAD_REQUEST', `invalid request: unknown scope "${scope}"`, {
    hint: `Scopes are ${SCOPES.join(', ')}.`,
  });
}

export function ttlMsOf(ttlSeconds: number | null | undefined): number | null {
  return ttlSeconds === undefined || ttlSeconds === null ? null : ttlSeconds * 1000;
}
