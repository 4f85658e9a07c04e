import type { StoreOperation } from '../store/schema.ts';
import type { Space } from './space.ts';

/** What writes a change of a key down; no text = it is gone. */
export function operationOf(
  { scope, ownerId }: Space,
  key: string,
  text: string | null,
  expiresWallMs: number | null,
  ttlMs: number | null,
  version: number,
): StoreOperation {
  const ttl = ttlMs === null ? null : Math.ceil(ttlMs);
  if (scope === 'global') {
    return text === null ? ['state.delete', key] : ['state.put', key, text, expiresWallMs, ttl, version];
  }
  return text === null
    ? ['state.agent.delete', key, ownerId]
    : ['state.agent.put', key, text, expiresWallMs, ttl, version, ownerId];
}
