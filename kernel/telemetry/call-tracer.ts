import type { Outcome } from '../audit/draft.ts';
import type { CallObserver, ObservedCall } from './observer.ts';
import { type AttributeValue, SPAN_KIND, type Span } from './otlp.ts';
import { RandomIds } from './random-ids.ts';
import { CHAT, CLOVE, ERROR_TYPE, GEN_AI } from './semantic-conventions.ts';

interface Open {
  readonly call: ObservedCall;
  readonly startMs: number;
  input: unknown;
}

/** As THINK takes and answers it. */
interface Question {
  readonly model?: string | null;
  readonly max_tokens?: number | null;
  readonly temperature?: number | null;
}
interface ModelAnswer {
  readonly model?: string;
  readonly finish_reason?: string;
  readonly input_tokens?: number;
  readonly output_tokens?: number;
}

/** Makes a span of every call. No request and no answer is in it, only what kind of call it was, whose, and how it ended. */
export class CallTracer implements CallObserver {
  readonly #open = new Map<object, Open>();
  readonly #ids = new RandomIds();
  readonly #emit: (span: Span) => void;

  constructor(emit: (span: Span) => void) {
    this.#emit = emit;
  }

  begin(key: object, call: ObservedCall): void {
    this.#open.set(key, { call, startMs: nowMs(), input: undefined });
  }

  admitted(key: object, input: unknown): void {
    const open = this.#open.get(key);
    // Contents are not kept while a call lasts; only questions to models are looked at when they end.
    if (open?.call.definition?.name === 'THINK') open.input = withoutContents(input as Question);
  }

  ended(key: object, outcome: Outcome, answer: unknown): void {
    const open = this.#open.get(key);
    if (open === undefined) return;
    this.#open.delete(key);
    const { call, startMs, input } = open;
    const { caller, kernel } = call.context;
    const name = call.definition?.name ?? 'UNKNOWN';
    const attributes: Record<string, AttributeValue> = {
      [CLOVE.syscallName]: name,
      [CLOVE.syscallOpcode]: call.opcode,
      [CLOVE.outcome]: outcome,
      [CLOVE.callerKind]: caller.kind,
      [CLOVE.callerId]: caller.id,
    };
    if (call.isLater) attributes[CLOVE.isLater] = true;
    if (outcome !== 'OK') attributes[ERROR_TYPE] = outcome;
    if (caller.kind === 'agent') {
      attributes[GEN_AI.agentId] = String(caller.id);
      const agentName = kernel.agents.get(caller.id)?.name;
      if (agentName !== undefined) attributes[GEN_AI.agentName] = agentName;
    }
    const isChat = name === 'THINK' && !isAccepted(answer);
    const model = isChat ? this.#describeChat(open, attributes, input as Question | undefined, answer) : '';
    this.#emit({
      traceId: this.#ids.next(16),
      spanId: this.#ids.next(8),
      name: isChat ? `${CHAT} ${model}` : name,
      kind: isChat ? SPAN_KIND.client : SPAN_KIND.server,
      startMs,
      endMs: Math.max(startMs, nowMs()),
      attributes,
      error: outcome === 'OK' ? null : outcome,
    });
  }

  /** Returns the model that was asked. */
  #describeChat(
    { call }: Open,
    attributes: Record<string, AttributeValue>,
    question: Question | undefined,
    answer: unknown,
  ): string {
    const { provider } = call.context.kernel.llm;
    const model = question?.model || (provider?.defaultModel ?? 'none');
    const { finish_reason, input_tokens, output_tokens, ...answered } = (answer ?? {}) as ModelAnswer;
    const told: Record<string, AttributeValue | null | undefined> = {
      [GEN_AI.operationName]: CHAT,
      [GEN_AI.providerName]: provider?.name ?? 'none',
      [GEN_AI.requestModel]: model,
      [GEN_AI.requestMaxTokens]: question?.max_tokens,
      [GEN_AI.requestTemperature]: question?.temperature,
      [GEN_AI.responseModel]: answered.model,
      [GEN_AI.responseFinishReasons]: finish_reason ? [finish_reason] : null,
      [GEN_AI.usageInputTokens]: input_tokens,
      [GEN_AI.usageOutputTokens]: output_tokens,
    };
    for (const [name, value] of Object.entries(told)) {
      if (value !== null && value !== undefined) attributes[name] = value;
    }
    return model;
  }
}

function withoutContents({ model, max_tokens, temperature }: Question): Question {
  return { model: model ?? null, max_tokens: max_tokens ?? null, temperature: temperature ?? null };
}

function isAccepted(answer: unknown): boolean {
  return typeof answer === 'object' && answer !== null && (answer as { async?: unknown }).async === true;
}

/** Wall time with the precision of the clock that never goes back. */
function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
