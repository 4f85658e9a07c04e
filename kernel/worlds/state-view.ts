import { CloveError } from '../../errors/index.ts';
import type { StateScope } from '../state/space.ts';
import type { FoundValue, StateStore } from '../state/state-store.ts';
import type { SyscallContext } from '../syscalls/define.ts';

/** `world`: the shared keys of the world that the caller is in, for who must not take the kernel's by mistake. */
export type AskedScope = StateScope | 'world';

/** The stores that hold a caller's keys: a member's shared keys are its world's, its private ones the kernel's as ever. */
export interface StateView {
  readonly private: StateStore;
  readonly shared: StateStore;
  /** Who is told of changes of the shared keys; null = everybody. */
  readonly audience: readonly number[] | null;
}

export function stateViewOf({ kernel, caller }: SyscallContext): StateView {
  const world = kernel.worlds?.joinedBy(caller.id) ?? null;
  if (world === null) return { private: kernel.state, shared: kernel.state, audience: null };
  world.countCall();
  return { private: kernel.state, shared: world.state, audience: world.memberIds() };
}

/** Where a scope's keys lie, and what they go by there. @throws NOT_FOUND */
export function placeOf(view: StateView, scope: AskedScope): { store: StateStore; scope: StateScope } {
  if (scope === 'world') {
    if (view.audience === null) throw new CloveError('NOT_FOUND', 'Not in any world');
    return { store: view.shared, scope: 'global' };
  }
  return { store: scope === 'global' ? view.shared : view.private, scope };
}

/** With no scope: the caller's session, then its own, then the shared one. */
export function fetchIn(
  view: StateView,
  callerId: number,
  key: string,
  scope: AskedScope | null,
): (FoundValue & { readonly store: StateStore }) | null {
  for (const candidate of scope === null ? (['session', 'agent', 'global'] as const) : [scope]) {
    const place = placeOf(view, candidate);
    const found = place.store.fetch(callerId, key, place.scope);
    if (found !== null) return { ...found, store: place.store };
  }
  return null;
}

export function keysIn(
  view: StateView,
  callerId: number,
  options: { prefix: string; scope: AskedScope | null; after: string; limit: number },
): { keys: string[]; more: boolean } {
  if (options.scope !== null || view.audience === null) {
    const place = options.scope === null ? null : placeOf(view, options.scope);
    return (place?.store ?? view.private).keys(callerId, { ...options, scope: place?.scope ?? null });
  }
  const lists = (['session', 'agent', 'global'] as const).map((scope) =>
    placeOf(view, scope).store.keys(callerId, { ...options, scope }),
  );
  const keys = [...new Set(lists.flatMap((list) => list.keys))].sort();
  const more = keys.length > options.limit || lists.some((list) => list.more);
  return { keys: keys.slice(0, options.limit), more };
}

/** Tells of a change of shared keys those who share them. */
export function publishChange(
  { kernel, caller }: SyscallContext,
  view: StateView,
  data: Readonly<Record<string, unknown>>,
): void {
  if (view.audience === null) kernel.events.publish('STATE_CHANGED', data, caller.id);
  else for (const id of view.audience) kernel.events.publish('STATE_CHANGED', data, caller.id, id);
}
