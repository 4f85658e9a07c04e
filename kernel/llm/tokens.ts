import type { ModelAnswer, ModelRequest } from './model.ts';

/** What English text comes to with common tokenisers; only ever used where no provider has counted. */
const BYTES_PER_TOKEN = 4;
/** What providers count for an image is of this order, whatever its bytes. */
const IMAGE_TOKENS = 1024;
/** Roles, separators. */
const OVERHEAD_TOKENS = 8;

function estimateTextTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN);
}

/** About what a question comes to before its answer. */
export function estimateInputTokens(request: ModelRequest): number {
  const { prompt, systemInstruction, tools, image } = request;
  return (
    OVERHEAD_TOKENS +
    estimateTextTokens(prompt) +
    estimateTextTokens(systemInstruction ?? '') +
    (tools.length === 0 ? 0 : estimateTextTokens(JSON.stringify(tools))) +
    (image === null ? 0 : IMAGE_TOKENS)
  );
}

export function estimateOutputTokens({ content, functionCalls }: ModelAnswer): number {
  const calls = functionCalls.length === 0 ? '' : JSON.stringify(functionCalls);
  return estimateTextTokens(content + calls);
}
