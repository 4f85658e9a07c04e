import type { ThoughtUse } from '../kernel/worlds/host.ts';
import type { LlmTimePrice, WorldClock } from './clock/types.ts';

/** What model calls have cost in a world. */
export interface ThinkingMetrics {
  /** As in the definition: `real`, `free`, `fixed:250` … */
  readonly time: string;
  readonly calls: number;
  readonly failed: number;
  /** Virtual ms that calls were charged with; in `real` as long as they took. */
  readonly charged_ms: number;
  /** Ms of the host. */
  readonly real_ms: number;
}

/**
 * Model calls of members. Unless they cost what they take, the world's time stands still while one is under way, for everybody; then
 * its price passes for the caller as a wait on the world's clock.
 */
export class Thinking {
  readonly #clock: WorldClock;
  readonly #price: LlmTimePrice;
  #calls = 0;
  #failed = 0;
  #chargedMs = 0;
  #realMs = 0;

  constructor(clock: WorldClock, price: LlmTimePrice) {
    this.#clock = clock;
    this.#price = price;
  }

  /** `waits`: the caller does nothing else meanwhile. Resolves when the price has been paid. @throws what `ask` throws, CANCELLED */
  async think<Answer extends ThoughtUse>(
    ask: () => Promise<Answer>,
    waits: () => Disposable,
    signal: AbortSignal,
  ): Promise<{ readonly answer: Answer; readonly durationMs: number }> {
    const clock = this.#clock;
    using held =
      this.#price.kind === 'real' ? clock.lease('a model is asked') : clock.still('a model is asked');
    const startedMs = clock.monotonicMs();
    const startedRealMs = performance.now();
    this.#calls += 1;
    let outcome: { readonly answer: Answer } | { readonly error: unknown };
    try {
      outcome = { answer: await ask() };
    } catch (error) {
      this.#failed += 1;
      outcome = { error };
    }
    const realMs = performance.now() - startedRealMs;
    this.#realMs += realMs;
    const priceMs = priceOf(this.#price, 'answer' in outcome ? outcome.answer : null, realMs);
    if (priceMs > 0) {
      using _waits = waits();
      // The wait is known to the clock before time goes on.
      const paid = clock.sleep(priceMs, signal);
      held[Symbol.dispose]();
      await paid;
    }
    const durationMs = clock.monotonicMs() - startedMs;
    this.#chargedMs += this.#price.kind === 'real' ? durationMs : priceMs;
    if ('error' in outcome) throw outcome.error;
    return { answer: outcome.answer, durationMs };
  }

  metrics(): ThinkingMetrics {
    return {
      time: priceText(this.#price),
      calls: this.#calls,
      failed: this.#failed,
      charged_ms: Math.round(this.#chargedMs),
      real_ms: Math.round(this.#realMs),
    };
  }
}

/** A call that failed has used no tokens that anybody counted, but it was made. */
function priceOf(price: LlmTimePrice, use: ThoughtUse | null, realMs: number): number {
  switch (price.kind) {
    case 'fixed':
      return price.ms;
    case 'per-token':
      return use === null ? 0 : ((use.inputTokens + use.outputTokens) * price.usPerToken) / 1000;
    case 'recorded':
      // Asked for now, it costs what it took: that is what a recording of it will say.
      return use?.recordedMs ?? realMs;
    case 'real':
    case 'free':
      return 0;
  }
}

export function priceText(price: LlmTimePrice): string {
  if (price.kind === 'fixed') return `fixed:${price.ms}`;
  return price.kind === 'per-token' ? `per-token:${price.usPerToken}` : price.kind;
}
