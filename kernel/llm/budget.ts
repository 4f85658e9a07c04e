import type { Caller } from '../identity.ts';
import type { KeepsByCaller } from '../kernel.ts';
import { digestOf } from '../permissions/grants.ts';
import type { Permissions } from '../permissions/permissions.ts';
import type { Quotas } from '../permissions/quotas.ts';
import { forbidden } from '../permissions/refusal.ts';

export interface LlmUse {
  readonly llmCalls: number;
  readonly llmTokens: number;
}

interface Amounts {
  calls: number;
  tokens: number;
}

/** What one question may cost, held until it is known what it did. */
export interface Reservation {
  /** Most tokens its answer may have; null = no quota says. */
  readonly maxOutputTokens: number | null;
  /** It was asked and has cost so much, whether there is an answer or not. */
  settle(tokens: number): void;
  /** It was never asked. */
  cancel(): void;
}

export interface LlmBudgetOptions {
  readonly permissions: Pick<Permissions, 'grantsOf'>;
  readonly quotas: Pick<Quotas, 'has' | 'payersOf' | 'limitsOf' | 'useOf' | 'settle'>;
  /** Reserved for an answer where the request does not say. */
  readonly defaultOutputTokens: number;
}

/** As existing clients know it. */
const DENIED = 'Permission denied: LLM quota exceeded or not allowed';

/**
 * Who may still ask, and how much. An agent’s questions are paid by it and by all its ancestors, under each one’s grants and
 * quotas; several at a time cannot together go beyond what is left.
 */
export class LlmBudget implements KeepsByCaller {
  readonly #options: LlmBudgetOptions;
  readonly #reserved = new Map<number, Amounts>();
  /** Operators’ clients have no account with the quotas. */
  readonly #usedByClients = new Map<number, Amounts>();

  constructor(options: LlmBudgetOptions) {
    this.#options = options;
  }

  useOf(callerId: number): LlmUse {
    if (this.#options.quotas.has(callerId)) return this.#options.quotas.useOf(callerId);
    const { calls, tokens } = this.#usedByClients.get(callerId) ?? { calls: 0, tokens: 0 };
    return { llmCalls: calls, llmTokens: tokens };
  }

  /** @throws FORBIDDEN when not even the shortest answer is left to ask for */
  assertLeft(caller: Caller, inputTokens: number): void {
    this.#leftFor(caller, inputTokens);
  }

  /** Takes one call, the question and as much of an answer as is asked for and left. @throws FORBIDDEN */
  reserve(caller: Caller, inputTokens: number, maxOutputTokens: number | null): Reservation {
    const left = this.#leftFor(caller, inputTokens);
    const wanted = maxOutputTokens ?? this.#options.defaultOutputTokens;
    const output = Math.min(wanted, left);
    const payers = this.#open(caller);
    this.#hold(payers, 1, inputTokens + output);
    let open = true;
    const close = (): boolean => {
      if (!open) return false;
      open = false;
      this.#hold(payers, -1, -(inputTokens + output));
      return true;
    };
    return {
      // Without a quota the provider’s own default is as good.
      maxOutputTokens: left === Number.POSITIVE_INFINITY ? maxOutputTokens : output,
      settle: (tokens) => {
        if (close()) this.#spend(payers, tokens);
      },
      cancel: () => {
        close();
      },
    };
  }

  /** What a caller says it has used elsewhere. Counted also beyond its limits; returns whether it is within them. */
  report(caller: Caller, tokens: number): boolean {
    const payers = this.#open(caller);
    this.#spend(payers, tokens);
    return payers.every((id) => {
      const { calls, tokens: limit } = this.#limitsOf(id, caller);
      const use = this.useOf(id);
      return use.llmCalls <= calls && use.llmTokens <= limit;
    });
  }

  release(callerId: number): void {
    this.#usedByClients.delete(callerId);
  }

  /** Tokens left for an answer after the question. @throws FORBIDDEN */
  #leftFor(caller: Caller, inputTokens: number): number {
    let left = Number.POSITIVE_INFINITY;
    for (const id of this.#payersOf(caller.id)) {
      const limits = this.#limitsOf(id, caller);
      const { llmCalls, llmTokens } = this.useOf(id);
      const held = this.#reserved.get(id) ?? { calls: 0, tokens: 0 };
      if (llmCalls + held.calls + 1 > limits.calls) throw this.#denied(caller, 'llm_calls', id);
      left = Math.min(left, limits.tokens - llmTokens - held.tokens - inputTokens);
      if (left < 1) throw this.#denied(caller, 'llm_tokens', id);
    }
    return left;
  }

  #denied(caller: Caller, quota: string, payerId: number): Error {
    const grants = this.#options.permissions.grantsOf(caller);
    return forbidden(
      {
        allowed: false,
        ruleId: `quota.exceeded:${quota}`,
        policyDigest: digestOf(grants),
        object: String(payerId),
      },
      DENIED,
    );
  }

  #open(caller: Caller): readonly number[] {
    if (caller.kind === 'operator') {
      this.#usedByClients.getOrInsertComputed(caller.id, () => ({ calls: 0, tokens: 0 }));
    }
    return this.#payersOf(caller.id);
  }

  #payersOf(callerId: number): readonly number[] {
    const payers = this.#options.quotas.payersOf(callerId);
    return payers.length === 0 ? [callerId] : payers;
  }

  /** Grants and quota together; where there is none, infinite. */
  #limitsOf(id: number, caller: Caller): Amounts {
    const { permissions, quotas } = this.#options;
    const { llm } = permissions.grantsOf(id === caller.id ? caller : { id, kind: 'agent' });
    const limits = quotas.limitsOf(id);
    return {
      calls: Math.min(unlessZero(llm.maxCalls), limits.llmCalls ?? Number.POSITIVE_INFINITY),
      tokens: Math.min(unlessZero(llm.maxTokens), limits.llmTokens ?? Number.POSITIVE_INFINITY),
    };
  }

  #hold(payers: readonly number[], calls: number, tokens: number): void {
    for (const id of payers) {
      const held = this.#reserved.getOrInsertComputed(id, () => ({ calls: 0, tokens: 0 }));
      held.calls += calls;
      held.tokens += tokens;
      if (held.calls === 0) this.#reserved.delete(id);
    }
  }

  /** An agent that has ended meanwhile no longer counts; its ancestors pay all the same. */
  #spend(payers: readonly number[], tokens: number): void {
    const { quotas } = this.#options;
    const payer = payers.find((id) => quotas.has(id));
    if (payer !== undefined) {
      quotas.settle(payer, 'llmCalls', 1);
      quotas.settle(payer, 'llmTokens', tokens);
      return;
    }
    // Nothing is kept for a connection that has closed meanwhile.
    const used = this.#usedByClients.get(payers[0] ?? 0);
    if (used === undefined) return;
    used.calls += 1;
    used.tokens += tokens;
  }
}

function unlessZero(limit: number): number {
  return limit === 0 ? Number.POSITIVE_INFINITY : limit;
}
