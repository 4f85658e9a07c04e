import type { CloveError } from '../../errors/index.ts';

export const THINKING_LEVELS = ['low', 'medium', 'high'] as const;
export type ThinkingLevel = (typeof THINKING_LEVELS)[number];

export interface ModelTool {
  readonly name: string;
  readonly description: string;
  /** JSON schema of an object. */
  readonly parameters: unknown;
}

/** One question to a model. null = the provider's own default. */
export interface ModelRequest {
  readonly model: string;
  readonly prompt: string;
  readonly systemInstruction: string | null;
  /** `data` in base64. */
  readonly image: { readonly data: string; readonly mimeType: string } | null;
  readonly thinkingLevel: ThinkingLevel | null;
  readonly temperature: number | null;
  /** Most tokens of the answer; null = no limit of the kernel's. */
  readonly maxOutputTokens: number | null;
  readonly tools: readonly ModelTool[];
}

/** What the provider says it has cost; what it reasoned counts as output. */
export interface ModelUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

export interface ModelFunctionCall {
  readonly name: string;
  readonly arguments: unknown;
}

export interface ModelAnswer {
  readonly content: string;
  readonly functionCalls: readonly ModelFunctionCall[];
  /** Which model really answered. */
  readonly model: string;
  /** In the provider's words: stop, length, tool_calls …; '' = it did not say. */
  readonly finishReason: string;
  /** null = it did not say, or said something that makes no sense. */
  readonly usage: ModelUsage | null;
  /** Ms it took when it was recorded; absent = it was asked for now. */
  readonly recordedMs?: number;
}

/** Somebody who answers questions. */
export interface ModelProvider {
  /** As in telemetry. */
  readonly name: string;
  /** Asked for where a request names none. */
  readonly defaultModel: string;
  /** Must end soon after the signal is aborted. @throws ModelFailure */
  complete(request: ModelRequest, signal: AbortSignal): Promise<ModelAnswer>;
}

/** Why there is no answer, and whether it may have been paid for all the same. */
export class ModelFailure extends Error {
  readonly error: CloveError;
  readonly mayHaveCost: boolean;

  constructor(error: CloveError, mayHaveCost: boolean) {
    super(error.message, { cause: error });
    this.name = 'ModelFailure';
    this.error = error;
    this.mayHaveCost = mayHaveCost;
  }
}
