import { CloveError } from '../../errors/index.ts';
import type { AgentCounters } from '../agents/agent.ts';
import { Deadline } from '../http/deadline.ts';
import type { Caller } from '../identity.ts';
import type { KeepsByCaller } from '../kernel.ts';
import { LlmBudget, type LlmBudgetOptions, type LlmUse, type Reservation } from './budget.ts';
import { FairQueue } from './fair-queue.ts';
import { MockProvider } from './mock.ts';
import { type ModelAnswer, ModelFailure, type ModelProvider, type ModelRequest } from './model.ts';
import { OpenAiCompatibleProvider } from './openai-compatible.ts';
import { assertComplete, type LlmOptions } from './options.ts';
import { RecordedProvider } from './recorded.ts';
import { estimateInputTokens, estimateOutputTokens } from './tokens.ts';

/** Questions of all callers that wait: each may be as large as a request. */
const MAX_WAITING_BYTES = 64 * 2 ** 20;

export interface LlmServiceOptions {
  readonly llm: LlmOptions;
  readonly budget: Omit<LlmBudgetOptions, 'defaultOutputTokens'>;
  readonly countersOf: (callerId: number) => AgentCounters | null;
  /** The kernel's own environment: the key is there. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface LlmAnswer extends ModelAnswer {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** The provider did not count: these are the kernel's guess. */
  readonly isEstimated: boolean;
}

/** What THINK and LLM_REPORT rest on: one provider, a fair queue before it, and who has how much left. */
export class LlmService implements KeepsByCaller {
  readonly #provider: ModelProvider | null;
  readonly #budget: LlmBudget;
  readonly #queue: FairQueue;
  readonly #timeoutMs: number;
  readonly #countersOf: LlmServiceOptions['countersOf'];
  readonly totals = { answered: 0, failed: 0, inputTokens: 0, outputTokens: 0 };

  /** @throws CONFIG */
  constructor({ llm, budget, countersOf, env }: LlmServiceOptions) {
    this.#provider = createProvider(llm, env);
    this.#budget = new LlmBudget({ ...budget, defaultOutputTokens: llm.maxOutputTokens });
    this.#queue = new FairQueue({
      running: llm.maxConcurrent,
      runningPerCaller: Math.ceil(llm.maxConcurrent / 2),
      waitingPerCaller: llm.maxQueuedPerCaller,
      waitingBytes: MAX_WAITING_BYTES,
    });
    this.#timeoutMs = llm.timeoutMs;
    this.#countersOf = countersOf;
  }

  /** null = THINK is not available. */
  get provider(): { readonly name: string; readonly defaultModel: string } | null {
    return this.#provider;
  }

  get queue(): { readonly running: number; readonly waiting: number } {
    return this.#queue;
  }

  useOf(callerId: number): LlmUse {
    return this.#budget.useOf(callerId);
  }

  /** @throws NOT_FOUND */
  assertConfigured(): ModelProvider {
    if (this.#provider !== null) return this.#provider;
    // The words existing clients know; the command line does as they say.
    throw new CloveError('NOT_FOUND', 'LLM not configured (set GEMINI_API_KEY)', {
      hint: 'Start the kernel with GEMINI_API_KEY set, or with --llm, --llm-url and --llm-model.',
    });
  }

  /** Waits for its turn and for the answer. @throws NOT_FOUND, FORBIDDEN, OVERLOAD, TIMEOUT, CANCELLED, IO, PAYLOAD_TOO_LARGE */
  async think(caller: Caller, request: ModelRequest, signal: AbortSignal): Promise<LlmAnswer> {
    const provider = this.assertConfigured();
    const inputTokens = estimateInputTokens(request);
    // Who has nothing left need not wait to be told.
    this.#budget.assertLeft(caller, inputTokens);
    return this.#queue.run(caller.id, sizeOf(request), signal, () => {
      const reservation = this.#budget.reserve(caller, inputTokens, request.maxOutputTokens);
      return this.#ask(provider, caller, request, reservation, inputTokens, signal);
    });
  }

  async #ask(
    provider: ModelProvider,
    caller: Caller,
    request: ModelRequest,
    reservation: Reservation,
    estimatedInput: number,
    signal: AbortSignal,
  ): Promise<LlmAnswer> {
    using deadline = new Deadline(signal, this.#timeoutMs, 'LLM');
    if (deadline.signal.aborted) {
      reservation.cancel();
      throw deadline.signal.reason;
    }
    const { maxOutputTokens } = reservation;
    try {
      const answer = await deadline.race(provider.complete({ ...request, maxOutputTokens }, deadline.signal));
      const usage = answer.usage ?? {
        inputTokens: estimatedInput,
        outputTokens: estimateOutputTokens(answer),
      };
      this.#settle(caller, reservation, usage.inputTokens, usage.outputTokens);
      this.totals.answered += 1;
      return { ...answer, ...usage, isEstimated: answer.usage === null };
    } catch (error) {
      this.totals.failed += 1;
      // Nobody knows what an answer that never came has cost: no more than what was reserved for it.
      const mayHaveCost = !(error instanceof ModelFailure) || error.mayHaveCost;
      this.#settle(
        caller,
        reservation,
        mayHaveCost ? estimatedInput : 0,
        mayHaveCost ? (maxOutputTokens ?? 0) : 0,
      );
      if (deadline.signal.aborted) throw deadline.signal.reason;
      throw error instanceof ModelFailure ? error.error : error;
    }
  }

  #settle(caller: Caller, reservation: Reservation, inputTokens: number, outputTokens: number): void {
    reservation.settle(inputTokens + outputTokens);
    this.#count(caller.id, inputTokens + outputTokens);
    this.totals.inputTokens += inputTokens;
    this.totals.outputTokens += outputTokens;
  }

  /** Tokens a caller has used by itself; returns whether it is still within its quota. */
  report(caller: Caller, tokens: number): boolean {
    this.#count(caller.id, tokens);
    return this.#budget.report(caller, tokens);
  }

  #count(callerId: number, tokens: number): void {
    const counters = this.#countersOf(callerId);
    if (counters === null) return;
    counters.llmCalls += 1;
    counters.llmTokens += tokens;
  }

  release(callerId: number): void {
    this.#budget.release(callerId);
  }
}

/** @throws CONFIG */
function createProvider(llm: LlmOptions, env: LlmServiceOptions['env']): ModelProvider | null {
  assertComplete(llm);
  const { provider, baseUrl, model, apiKeyEnv } = llm;
  switch (provider) {
    case 'none':
      return null;
    case 'mock':
      return new MockProvider({ model, seed: llm.mockSeed, latencyMs: llm.mockLatencyMs });
    case 'recorded':
      return new RecordedProvider(llm.recordingFile ?? '');
    case 'openai-compatible': {
      const apiKey = apiKeyEnv === null ? null : env[apiKeyEnv];
      if (apiKey === undefined || apiKey === '') {
        throw new CloveError(
          'CONFIG',
          `the variable ${apiKeyEnv} with the key for the LLM provider is not set`,
        );
      }
      if (apiKey !== null && !/^[\x21-\x7e]+$/.test(apiKey)) {
        throw new CloveError('CONFIG', `what the variable ${apiKeyEnv} holds is no key`);
      }
      return new OpenAiCompatibleProvider({ baseUrl: baseUrl ?? '', model: model ?? '', apiKey });
    }
  }
}

/** Characters are close enough to bytes for a bound on memory. */
function sizeOf({ prompt, systemInstruction, image, tools }: ModelRequest): number {
  const toolBytes = tools.length === 0 ? 0 : JSON.stringify(tools).length;
  return prompt.length + (systemInstruction?.length ?? 0) + (image?.data.length ?? 0) + toolBytes + 512;
}
