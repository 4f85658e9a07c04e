import type { UserLlmOptions } from './options.ts';

export const LLM_PROVIDERS = ['none', 'mock', 'recorded', 'openai-compatible'] as const;
export type LlmProviderName = (typeof LLM_PROVIDERS)[number];

/** Gemini speaks the same protocol here. */
const GEMINI_BASE_URL = 'https://generativelanguage.googleapis.com/v1beta/openai';
const GEMINI_MODEL = 'gemini-2.0-flash';

/** What the variables say that existing installations set: a key of Gemini is all it takes. null = nothing. */
export function llmFromEnvironment(env: Readonly<Record<string, string | undefined>>): UserLlmOptions | null {
  const apiKeyEnv = ['GEMINI_API_KEY', 'GOOGLE_API_KEY'].find((name) => env[name]);
  if (apiKeyEnv === undefined) return null;
  return {
    provider: 'openai-compatible',
    baseUrl: GEMINI_BASE_URL,
    model: env.GEMINI_MODEL || GEMINI_MODEL,
    apiKeyEnv,
  };
}
