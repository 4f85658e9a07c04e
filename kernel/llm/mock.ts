import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { CloveError } from '../../errors/index.ts';
import { type ModelAnswer, ModelFailure, type ModelProvider, type ModelRequest } from './model.ts';

const WORDS =
  'agent answer branch careful check clear compare count data draft edge fact file first given hold idea key last list map model next note open order part path plan point proof rank read result rule same scan score seed sign sort step table task test then thing trace turn value view weigh word work'.split(
    ' ',
  );
const SHORTEST = 8;
const LENGTHS = 32;

/** A model that is none: the same question and seed give the same text and counts on any machine. One word is one token. */
export class MockProvider implements ModelProvider {
  readonly name = 'mock';
  readonly defaultModel: string;
  readonly #seed: number;
  readonly #latencyMs: number;

  constructor(options: { readonly model: string | null; readonly seed: number; readonly latencyMs: number }) {
    this.defaultModel = options.model ?? 'mock';
    this.#seed = options.seed;
    this.#latencyMs = options.latencyMs;
  }

  async complete(request: ModelRequest, signal: AbortSignal): Promise<ModelAnswer> {
    if (this.#latencyMs > 0) {
      await sleep(this.#latencyMs, undefined, { signal }).catch(() => {
        throw new ModelFailure(new CloveError('CANCELLED', 'the question was cancelled'), true);
      });
    }
    const { maxOutputTokens, ...question } = request;
    const words = wordsFor(JSON.stringify([this.#seed, question]));
    const cut = maxOutputTokens === null ? words : words.slice(0, maxOutputTokens);
    return {
      content: `${cut.join(' ')}.`,
      functionCalls: [],
      model: request.model,
      finishReason: cut.length < words.length ? 'length' : 'stop',
      usage: {
        inputTokens: countWords(`${request.systemInstruction ?? ''} ${request.prompt}`),
        outputTokens: cut.length,
      },
    };
  }
}

function wordsFor(question: string): string[] {
  const digest = createHash('sha256').update(question).digest();
  const length = SHORTEST + ((digest[0] as number) % LENGTHS);
  const words: string[] = [];
  for (let block = 0; words.length < length; block += 1) {
    const bytes = createHash('sha256').update(digest).update(String(block)).digest();
    for (const byte of bytes) words.push(WORDS[byte % WORDS.length] as string);
  }
  return words.slice(0, length);
}

function countWords(text: string): number {
  return text.split(/\s+/).filter((word) => word !== '').length;
}
