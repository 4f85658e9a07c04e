import { Accounts } from './accounts.ts';
import type { Entry } from './key-space.ts';
import type { StateLimits } from './limits.ts';
import { Space, type StateScope } from './space.ts';

/** What a caller would store. */
export interface Room {
  readonly scope: StateScope;
  readonly key: string;
  readonly callerId: number;
  readonly bytes: number;
}

/** All keys of the fleet by scope and owner, and what each caller has of them. */
export class Spaces {
  readonly global: Space;
  readonly #private: Record<'agent' | 'session', Map<number, Space>> = {
    agent: new Map(),
    session: new Map(),
  };
  readonly #accounts = new Accounts();
  readonly #limits: StateLimits;
  readonly #outlivesKernel: (callerId: number) => boolean;

  constructor(
    limits: StateLimits,
    options: { readonly isDurable: boolean; readonly outlivesKernel: (callerId: number) => boolean },
  ) {
    this.#limits = limits;
    this.#outlivesKernel = options.outlivesKernel;
    this.global = new Space('global', 0, options.isDurable);
  }

  all(): Space[] {
    return [...this.#private.agent.values(), ...this.#private.session.values(), this.global];
  }

  of(scope: StateScope, callerId: number): Space {
    if (scope === 'global') return this.global;
    return this.#private[scope].getOrInsertComputed(
      callerId,
      () => new Space(scope, callerId, scope === 'agent' && this.#outlivesKernel(callerId)),
    );
  }

  ifAny(scope: StateScope, callerId: number): Space | undefined {
    return scope === 'global' ? this.global : this.#private[scope].get(callerId);
  }

  put(space: Space, key: string, entry: Entry): void {
    const previous = space.keys.peek(key);
    if (previous !== undefined) this.#accounts.remove(previous);
    space.keys.set(key, entry);
    this.#accounts.add(entry);
  }

  drop(space: Space, key: string): void {
    const entry = space.keys.peek(key);
    if (entry === undefined) return;
    space.keys.delete(key);
    this.#accounts.remove(entry);
  }

  /** All that one caller has in a scope. Returns the space that is no more. */
  clear(scope: 'agent' | 'session', callerId: number): Space | undefined {
    const space = this.#private[scope].get(callerId);
    if (space === undefined) return undefined;
    for (const [, entry] of space.keys.entries()) this.#accounts.remove(entry);
    this.#private[scope].delete(callerId);
    return space;
  }

  /** What it left in the global scope stays, on nobody's quota: ids are never used again. */
  closeAccount(callerId: number): void {
    this.#accounts.close(callerId);
  }

  hasRoom({ scope, key, callerId, bytes }: Room): boolean {
    const previous = this.ifAny(scope, callerId)?.keys.peek(key);
    const usage = this.#accounts.of(callerId);
    const mine = previous !== undefined && previous.writerId === callerId;
    const { keys } = this.global;
    if (usage.keys + (mine ? 0 : 1) > this.#limits.callerKeys) return false;
    if (usage.bytes + bytes - (mine ? previous.bytes : 0) > this.#limits.callerBytes) return false;
    const added = bytes - (previous?.bytes ?? 0);
    if (this.#accounts.totalBytes + added > this.#limits.totalBytes) return false;
    if (scope !== 'global') return true;
    if (keys.size + (previous === undefined ? 1 : 0) > this.#limits.globalKeys) return false;
    return keys.bytes + added <= this.#limits.globalBytes;
  }

  /** What one caller has stored, over all scopes. */
  bytesOf(callerId: number): number {
    return this.#accounts.of(callerId).bytes;
  }

  usage(): { readonly keys: number; readonly bytes: number } {
    const keys = this.all().reduce((sum, space) => sum + space.keys.size, 0);
    return { keys, bytes: this.#accounts.totalBytes };
  }
}
