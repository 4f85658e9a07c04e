import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import type { KeepsByCaller } from '../kernel.ts';

/** What an agent and all its children together may use; null = no limit. */
export interface QuotaLimits {
  /** Messages sent, over its life. */
  readonly messages: number | null;
  /** Of state, at a time. */
  readonly stateBytes: number | null;
  readonly llmCalls: number | null;
  readonly llmTokens: number | null;
  /** Live children and theirs. */
  readonly agents: number | null;
  /** With as many in one burst. */
  readonly syscallsPerSecond: number | null;
}

export const NO_QUOTAS: QuotaLimits = {
  messages: null,
  stateBytes: null,
  llmCalls: null,
  llmTokens: null,
  agents: null,
  syscallsPerSecond: null,
};

export const QUOTAS = Object.keys(NO_QUOTAS) as (keyof QuotaLimits)[];
const amount = z.number().min(0);
const limit = amount.nullable();
const storedQuotas = z.strictObject({
  limits: z.strictObject({
    messages: limit,
    stateBytes: limit,
    llmCalls: limit,
    llmTokens: limit,
    agents: limit,
    syscallsPerSecond: limit,
  }),
  used: z.strictObject({ messages: amount, llmCalls: amount, llmTokens: amount }),
});
export type StoredQuotas = z.input<typeof storedQuotas>;

/** What was read from one object: agents that have the same share it. */
const restored = new WeakMap<object, z.output<typeof storedQuotas>>();

/** @throws DATA_CORRUPT */
function fromStored(stored: unknown): z.output<typeof storedQuotas> {
  const known = typeof stored === 'object' && stored !== null ? restored.get(stored) : undefined;
  if (known !== undefined) return known;
  const parsed = storedQuotas.safeParse(stored);
  if (!parsed.success) {
    throw new CloveError('DATA_CORRUPT', 'stored quotas make no sense', { cause: parsed.error });
  }
  restored.set(stored as object, parsed.data);
  return parsed.data;
}

/** What only ever adds up. */
type Counted = 'messages' | 'llmCalls' | 'llmTokens';

export type QuotaUse = Readonly<Record<keyof Omit<QuotaLimits, 'syscallsPerSecond'>, number>>;

interface Account {
  readonly id: number;
  /** Who pays too; null = nobody. */
  parent: Account | null;
  readonly children: Set<Account>;
  limits: QuotaLimits;
  readonly used: Record<Counted, number>;
  /** Calls it may make now, and when that was so. */
  calls: number;
  atMs: number;
  /** Refusals for want of calls that it may be told of now, and when that was so. */
  refusals: number;
  refusalsAtMs: number;
}

/**
 * How many refusals a second are answered at once. A refusal costs as much as a call: of a caller that does not stop, only so many
 * are answered, the rest waits, and nothing more is read of it.
 */
const REFUSALS_PER_SECOND = 32;

export interface QuotasOptions {
  /** Bytes of state that a caller has stored. */
  readonly stateBytesOf: (callerId: number) => number;
  /** Milliseconds that never go back. */
  readonly monotonicMs?: () => number;
}

/** Who used how much. What an agent uses is also its parent's use: children are no way around a limit. */
export class Quotas implements KeepsByCaller {
  readonly #accounts = new Map<number, Account>();
  readonly #stateBytesOf: (callerId: number) => number;
  readonly #monotonicMs: () => number;

  constructor(options: QuotasOptions) {
    this.#stateBytesOf = options.stateBytesOf;
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
  }

  /** @throws OVERLOAD when the parent may have no more children; then nothing was opened. */
  open(id: number, parentId: number): void {
    const parent = this.#accounts.get(parentId) ?? null;
    for (let payer = parent; payer !== null; payer = payer.parent) {
      const { agents } = payer.limits;
      if (agents !== null && descendantsOf(payer) >= agents) throw exceeded(payer, 'agents', agents);
    }
    const account: Account = {
      id,
      parent,
      children: new Set(),
      limits: NO_QUOTAS,
      used: { messages: 0, llmCalls: 0, llmTokens: 0 },
      calls: 0,
      atMs: 0,
      refusals: REFUSALS_PER_SECOND,
      refusalsAtMs: 0,
    };
    parent?.children.add(account);
    this.#accounts.set(id, account);
  }

  /** What must outlast the kernel: plain JSON; null = no account. */
  stored(id: number): StoredQuotas | null {
    const account = this.#accounts.get(id);
    return account === undefined ? null : { limits: account.limits, used: { ...account.used } };
  }

  /** Of an agent that was there before the kernel was started again: parents first. @throws DATA_CORRUPT, OVERLOAD */
  restore(id: number, parentId: number, stored: unknown): void {
    const { limits, used } = fromStored(stored);
    this.open(id, parentId);
    this.set(id, limits);
    Object.assign((this.#accounts.get(id) as Account).used, used);
  }

  /** What it used stays used; its children are its parent's from now on. */
  release(id: number): void {
    const account = this.#accounts.get(id);
    if (account === undefined) return;
    const { parent, children } = account;
    parent?.children.delete(account);
    for (const child of children) {
      child.parent = parent;
      parent?.children.add(child);
    }
    this.#accounts.delete(id);
  }

  has(id: number): boolean {
    return this.#accounts.has(id);
  }

  /** An agent and everybody above it, itself first: who pays for what it uses. Empty = it has no account. */
  payersOf(id: number): readonly number[] {
    const payers: number[] = [];
    for (let payer = this.#accounts.get(id) ?? null; payer !== null; payer = payer.parent)
      payers.push(payer.id);
    return payers;
  }

  limitsOf(id: number): QuotaLimits {
    return this.#accounts.get(id)?.limits ?? NO_QUOTAS;
  }

  /** Tighter limits than those of `id` that hold for it because of its ancestors are in their accounts. */
  set(id: number, limits: QuotaLimits): void {
    const account = this.#accounts.get(id);
    if (account === undefined) throw new CloveError('NOT_FOUND', `agent not found: ${id}`);
    if (limits.syscallsPerSecond !== account.limits.syscallsPerSecond) {
      account.calls = limits.syscallsPerSecond ?? 0;
      account.atMs = this.#monotonicMs();
    }
    account.limits = limits;
  }

  resetUse(id: number): void {
    const account = this.#accounts.get(id);
    if (account !== undefined) Object.assign(account.used, { messages: 0, llmCalls: 0, llmTokens: 0 });
  }

  useOf(id: number): QuotaUse {
    const account = this.#accounts.get(id);
    if (account === undefined) return { messages: 0, stateBytes: 0, llmCalls: 0, llmTokens: 0, agents: 0 };
    return { ...account.used, stateBytes: this.#stateBytes(account), agents: descendantsOf(account) };
  }

  /** One call of an agent. @throws OVERLOAD */
  chargeSyscall(id: number): void {
    const first = this.#accounts.get(id);
    if (first === undefined) return;
    const poor = this.#payerWithoutCalls(first);
    if (poor !== null) {
      first.refusals -= 1;
      throw exceeded(poor, 'syscallsPerSecond', poor.limits.syscallsPerSecond ?? 0);
    }
    for (let payer: Account | null = first; payer !== null; payer = payer.parent) {
      if (payer.limits.syscallsPerSecond !== null) payer.calls -= 1;
    }
  }

  /** Milliseconds until its next call should be looked at: more than 0 only after many that were refused for want of calls. */
  pauseMs(id: number): number {
    const first = this.#accounts.get(id);
    if (first === undefined || this.#payerWithoutCalls(first) === null) return 0;
    const now = this.#monotonicMs();
    const gained = ((now - first.refusalsAtMs) / 1000) * REFUSALS_PER_SECOND;
    first.refusals = Math.min(REFUSALS_PER_SECOND, first.refusals + gained);
    first.refusalsAtMs = now;
    return first.refusals >= 1 ? 0 : Math.ceil(((1 - first.refusals) * 1000) / REFUSALS_PER_SECOND);
  }

  /** Whoever has no call left of those that pay for one; null = all have. */
  #payerWithoutCalls(first: Account): Account | null {
    for (let payer: Account | null = first; payer !== null; payer = payer.parent) {
      const rate = payer.limits.syscallsPerSecond;
      if (rate === null) continue;
      const now = this.#monotonicMs();
      payer.calls = Math.min(rate, payer.calls + ((now - payer.atMs) / 1000) * rate);
      payer.atMs = now;
      if (payer.calls < 1) return payer;
    }
    return null;
  }

  /** All or nothing. @throws OVERLOAD */
  charge(id: number, amounts: Partial<Record<Counted, number>>): void {
    const first = this.#accounts.get(id) ?? null;
    const entries = Object.entries(amounts) as [Counted, number][];
    for (const [quota, amount] of entries) {
      if (!Number.isFinite(amount) || amount < 0)
        throw new CloveError('BAD_REQUEST', `no amount of ${quota}: ${amount}`);
    }
    for (let payer = first; payer !== null; payer = payer.parent) {
      for (const [quota, amount] of entries) {
        const limit = payer.limits[quota];
        if (limit !== null && payer.used[quota] + amount > limit) throw exceeded(payer, quota, limit);
      }
    }
    for (let payer = first; payer !== null; payer = payer.parent) {
      for (const [quota, amount] of entries) payer.used[quota] += amount;
    }
  }

  /** What a request costs besides being a call. @throws OVERLOAD */
  chargeFor(id: number, syscall: string, input: unknown): void {
    if (syscall === 'SEND' || syscall === 'BROADCAST') this.charge(id, { messages: 1 });
    else if ((syscall === 'STORE' || syscall === 'CAS') && this.#limitsState(id)) {
      const { key, value } = input as { readonly key?: unknown; readonly value?: unknown };
      const text = JSON.stringify(value) ?? '';
      this.#admitState(id, Buffer.byteLength(text) + Buffer.byteLength(String(key ?? '')));
    }
  }

  /** What turned out to be used after all, also beyond a limit: the next charge meets it. */
  settle(id: number, quota: Counted, amount: number): void {
    if (!Number.isFinite(amount) || amount < 0) return;
    for (let payer = this.#accounts.get(id) ?? null; payer !== null; payer = payer.parent) {
      payer.used[quota] += amount;
    }
  }

  /** Else nobody needs to count. */
  #limitsState(id: number): boolean {
    for (let payer = this.#accounts.get(id) ?? null; payer !== null; payer = payer.parent) {
      if (payer.limits.stateBytes !== null) return true;
    }
    return false;
  }

  #admitState(id: number, bytes: number): void {
    for (let payer = this.#accounts.get(id) ?? null; payer !== null; payer = payer.parent) {
      const limit = payer.limits.stateBytes;
      if (limit !== null && this.#stateBytes(payer) + bytes > limit)
        throw exceeded(payer, 'stateBytes', limit);
    }
  }

  #stateBytes(account: Account): number {
    let bytes = this.#stateBytesOf(account.id);
    for (const child of account.children) bytes += this.#stateBytes(child);
    return bytes;
  }
}

function descendantsOf(account: Account): number {
  let count = 0;
  for (const child of account.children) count += 1 + descendantsOf(child);
  return count;
}

/** As requests and answers call them. */
export const QUOTA_FIELDS = {
  messages: 'messages',
  stateBytes: 'state_bytes',
  llmCalls: 'llm_calls',
  llmTokens: 'llm_tokens',
  agents: 'agents',
  syscallsPerSecond: 'syscalls_per_second',
} as const satisfies Record<keyof QuotaLimits, string>;

function exceeded(account: Account, quota: keyof QuotaLimits, limit: number): CloveError {
  const field = QUOTA_FIELDS[quota];
  return new CloveError('OVERLOAD', `quota of agent ${account.id} is used up: ${field}`, {
    hint:
      quota === 'syscallsPerSecond'
        ? 'Make fewer calls, or wait a moment.'
        : 'Ask whoever started the agent for more.',
    details: { rule: `quota.exceeded:${field}`, agent_id: account.id, quota: field, limit },
  });
}
