import { hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { z } from 'zod';
import { CloveError, isCloveError } from '../../errors/index.ts';
import { toSortedJson } from '../json.ts';
import { type LoadedRecording, loadRecording } from '../recording/load.ts';
import { type ModelAnswer, ModelFailure, type ModelProvider, type ModelRequest } from './model.ts';

const question = z.object({
  prompt: z.string().default(''),
  system_instruction: z.string().nullish(),
  image: z.object({ data: z.string() }).nullish(),
  temperature: z.number().nullish(),
  tools: z.array(z.unknown()).nullish(),
});

const answer = z.object({
  success: z.literal(true),
  content: z.string(),
  input_tokens: z.int(),
  output_tokens: z.int(),
  model: z.string(),
  finish_reason: z.string(),
  function_calls: z.array(z.object({ name: z.string(), arguments: z.unknown() })).default([]),
  duration_ms: z.number(),
});

const accepted = z.object({ async: z.literal(true), request_id: z.int() });
const polled = z.object({
  results: z.array(z.object({ opcode_name: z.string(), request_id: z.int(), payload: z.string() })),
});

/**
 * A model that answers from a recording of agents: the same question gets the same answers in the same order, after the last one
 * that again. Models and limits of length are not looked at. What was taken out as a secret cannot be asked for again.
 */
export class RecordedProvider implements ModelProvider {
  readonly name = 'recorded';
  readonly defaultModel = 'recorded';
  readonly #file: string;
  #answers: Promise<ReadonlyMap<string, ModelAnswer[]>> | null = null;
  readonly #asked = new Map<string, number>();

  /** @throws CONFIG (there is no such file) */
  constructor(file: string) {
    if (!existsSync(file)) throw new CloveError('CONFIG', `there is no recording ${file}`);
    this.#file = file;
  }

  async complete(request: ModelRequest): Promise<ModelAnswer> {
    const answers = await this.#load();
    const key = keyOf({
      prompt: request.prompt,
      system: request.systemInstruction,
      image: request.image?.data ?? null,
      temperature: request.temperature,
      tools: request.tools,
    });
    const known = answers.get(key);
    if (known === undefined) {
      const error = new CloveError('NOT_FOUND', 'this question is not in the recording', {
        hint: 'Questions are the same when prompt, system instruction, image, temperature and tools are.',
        details: { prompt: request.prompt.slice(0, 200) },
      });
      throw new ModelFailure(error, false);
    }
    const index = this.#asked.get(key) ?? 0;
    this.#asked.set(key, index + 1);
    return known[Math.min(index, known.length - 1)] as ModelAnswer;
  }

  #load(): Promise<ReadonlyMap<string, ModelAnswer[]>> {
    this.#answers ??= loadRecording(this.#file).then(answersIn, (error: unknown) => {
      // It may be there when the next question comes.
      this.#answers = null;
      throw isCloveError(error) ? new ModelFailure(error, false) : error;
    });
    return this.#answers;
  }
}

function answersIn({ runs, operatorCalls }: LoadedRecording): ReadonlyMap<string, ModelAnswer[]> {
  const found = new Map<string, ModelAnswer[]>();
  for (const calls of [...runs.map((run) => run.calls), operatorCalls]) {
    const waiting = new Map<number, string>();
    for (const { syscall, request, answer: text } of calls) {
      if (text === null) continue;
      if (syscall === 'THINK') {
        const asked = question.safeParse(parsed(request));
        if (!asked.success) continue;
        const key = keyOfRecorded(asked.data);
        const later = accepted.safeParse(parsed(text));
        if (later.success) waiting.set(later.data.request_id, key);
        else keep(found, key, text);
      } else if (syscall === 'ASYNC_POLL') {
        for (const result of polled.safeParse(parsed(text)).data?.results ?? []) {
          const key = waiting.get(result.request_id);
          if (key !== undefined && result.opcode_name === 'THINK') keep(found, key, result.payload);
        }
      }
    }
  }
  return found;
}

/** Calls that failed are no answers: who asks again gets the next one. */
function keep(found: Map<string, ModelAnswer[]>, key: string, text: string): void {
  const { data } = answer.safeParse(parsed(text));
  if (data === undefined) return;
  found
    .getOrInsertComputed(key, () => [])
    .push({
      content: data.content,
      functionCalls: data.function_calls.map(({ name, arguments: given }) => ({ name, arguments: given })),
      model: data.model,
      finishReason: data.finish_reason,
      usage: { inputTokens: data.input_tokens, outputTokens: data.output_tokens },
      recordedMs: data.duration_ms,
    });
}

function keyOfRecorded({ prompt, system_instruction, image, temperature, tools }: z.output<typeof question>) {
  return keyOf({
    prompt,
    system: system_instruction ?? null,
    image: image?.data ?? null,
    temperature: temperature ?? null,
    // As THINK completes them.
    tools: (tools ?? []).map((tool) => ({
      description: '',
      parameters: { type: 'object', properties: {} },
      ...(tool as object),
    })),
  });
}

function keyOf(asked: Readonly<Record<string, unknown>>): string {
  return hash('sha256', toSortedJson(asked));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
