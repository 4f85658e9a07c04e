import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { LLM_PROVIDERS, type LlmProviderName } from './providers.ts';

/** Node's own fetch gives up on a server that stays silent for 300 s. */
const MAX_TIMEOUT_MS = 290_000;

export const llmSchema = z.strictObject({
  provider: z.enum(LLM_PROVIDERS).default('none'),
  baseUrl: z.string().min(1).max(2048).nullable().default(null),
  model: z.string().min(1).max(256).nullable().default(null),
  apiKeyEnv: z
    .string()
    .regex(/^[A-Za-z_]\w{0,127}$/, 'not the name of a variable')
    .nullable()
    .default(null),
  maxConcurrent: z.int().min(1).max(256).default(4),
  maxQueuedPerCaller: z.int().min(1).max(1024).default(16),
  timeoutMs: z.int().min(1).max(MAX_TIMEOUT_MS).default(120_000),
  maxOutputTokens: z.int().min(1).max(1_000_000).default(4096),
  recordingFile: z.string().min(1).max(4096).nullable().default(null),
  mockSeed: z.int().default(0),
  mockLatencyMs: z.int().min(0).max(60_000).default(0),
});

/** Which model answers THINK, and how many questions at a time. */
export interface LlmOptions {
  readonly provider: LlmProviderName;
  /** Of openai-compatible: where `/chat/completions` is below, e.g. https://api.example.org/v1. */
  readonly baseUrl: string | null;
  /** Asked where a request names none; null only where the provider has one of its own. */
  readonly model: string | null;
  /** Name of the kernel's environment variable with the key; null = no key is sent. */
  readonly apiKeyEnv: string | null;
  /** Questions to the provider at a time; of one caller at most half of them, rounded up. */
  readonly maxConcurrent: number;
  /** Questions of one caller that wait for their turn; more are answered with OVERLOAD. */
  readonly maxQueuedPerCaller: number;
  /** Of one question, from when its turn has come. ms */
  readonly timeoutMs: number;
  /** Reserved of a token quota for the answer to a question that names no `max_tokens`. */
  readonly maxOutputTokens: number;
  /** Of recorded: the recording (`clove record`) that answers. */
  readonly recordingFile: string | null;
  /** Of mock: answers are a function of the question and of it. */
  readonly mockSeed: number;
  readonly mockLatencyMs: number;
}

export type UserLlmOptions = Partial<LlmOptions>;

/** Says what is missing before anybody asks. @throws CONFIG */
export function assertComplete({ provider, baseUrl, model, recordingFile }: LlmOptions): void {
  if (provider === 'recorded' && recordingFile === null) {
    throw new CloveError('CONFIG', 'the LLM provider recorded needs a recording', {
      hint: 'clove kernel start --llm recorded --llm-recording FILE, of clove record.',
    });
  }
  if (provider !== 'openai-compatible') return;
  const missing = baseUrl === null ? 'a base URL' : model === null ? 'a model' : null;
  if (missing === null) return;
  throw new CloveError('CONFIG', `the LLM provider openai-compatible needs ${missing}`, {
    hint: 'clove kernel start --llm openai-compatible --llm-url https://… --llm-model …',
  });
}
