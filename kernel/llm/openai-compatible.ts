import { z } from 'zod';
import { CloveError, isCloveError } from '../../errors/index.ts';
import { redactText } from '../audit/summary.ts';
import { KERNEL_VERSION } from '../protocol/version.ts';
import {
  type ModelAnswer,
  ModelFailure,
  type ModelFunctionCall,
  type ModelProvider,
  type ModelRequest,
  type ModelUsage,
} from './model.ts';

const MAX_ANSWER_BYTES = 8 * 2 ** 20;
const MAX_ERROR_BYTES = 64 * 2 ** 10;
const MAX_ERROR_CHARS = 300;

/** Errors before the first byte of a question has left: it cannot have cost anything. */
const NEVER_SENT =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT|ERR_TLS_.*|CERT_.*|DEPTH_ZERO_.*|SELF_SIGNED_.*|UNABLE_TO_.*)$/;

const toolCall = z.object({
  function: z.object({ name: z.string().max(256), arguments: z.string().nullish() }),
});

const chatCompletion = z.object({
  model: z.string().max(256).nullish(),
  choices: z
    .array(
      z.object({
        message: z.object({
          content: z.union([z.string(), z.array(z.object({ text: z.string().optional() }))]).nullish(),
          tool_calls: z.array(toolCall).max(256).nullish(),
        }),
        finish_reason: z.string().max(64).nullish(),
      }),
    )
    .min(1),
  usage: z.unknown().optional(),
});

const tokens = z
  .int()
  .min(0)
  .max(2 ** 31);
const chatUsage = z.object({
  prompt_tokens: tokens,
  completion_tokens: tokens,
  total_tokens: tokens.nullish(),
});

const failure = z.object({ error: z.union([z.string(), z.object({ message: z.string() })]) });

export interface OpenAiCompatibleOptions {
  readonly baseUrl: string;
  readonly model: string;
  /** Sent as a bearer token, and nowhere else. */
  readonly apiKey: string | null;
}

/** Any server that speaks the chat completions protocol. Redirects are errors: the key goes to nobody else. */
export class OpenAiCompatibleProvider implements ModelProvider {
  readonly name = 'openai-compatible';
  readonly defaultModel: string;
  readonly #url: URL;
  readonly #apiKey: string | null;

  /** @throws CONFIG */
  constructor({ baseUrl, model, apiKey }: OpenAiCompatibleOptions) {
    this.defaultModel = model;
    this.#url = completionsUrl(baseUrl, apiKey !== null);
    this.#apiKey = apiKey;
  }

  async complete(request: ModelRequest, signal: AbortSignal): Promise<ModelAnswer> {
    const response = await this.#ask(request, signal);
    if (!response.ok) throw await this.#refusal(response, signal);
    try {
      return parseAnswer(await readText(response, MAX_ANSWER_BYTES), request.model);
    } catch (error) {
      throw new ModelFailure(reasonOf(error, signal), true);
    }
  }

  async #ask(request: ModelRequest, signal: AbortSignal): Promise<Response> {
    try {
      return await fetch(this.#url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json',
          'accept-encoding': 'identity',
          'user-agent': `clove/${KERNEL_VERSION}`,
          ...(this.#apiKey === null ? {} : { authorization: `Bearer ${this.#apiKey}` }),
        },
        body: JSON.stringify(toChat(request)),
        redirect: 'error',
        signal,
      });
    } catch (error) {
      const code = (error as { cause?: { code?: unknown } }).cause?.code;
      const neverSent = typeof code === 'string' && NEVER_SENT.test(code);
      throw new ModelFailure(reasonOf(error, signal), !neverSent);
    }
  }

  /** What an agent is told: the server's words where they are about the question, none where they are about the key. */
  async #refusal(response: Response, signal: AbortSignal): Promise<ModelFailure> {
    const { status } = response;
    let words = '';
    try {
      const text = await readText(response, MAX_ERROR_BYTES);
      if (status !== 401 && status !== 403) words = this.#errorWords(text);
    } catch (error) {
      if (signal.aborted) return new ModelFailure(reasonOf(error, signal), false);
    }
    const message = `LLM provider answered HTTP ${status}${words === '' ? '' : `: ${words}`}`;
    if (status === 429) {
      return new ModelFailure(
        new CloveError('OVERLOAD', message, { hint: 'The provider’s own limit; try again later.' }),
        false,
      );
    }
    const hint = status === 401 || status === 403 ? { hint: 'The operator’s key is not accepted.' } : {};
    return new ModelFailure(new CloveError('IO', message, hint), false);
  }

  #errorWords(text: string): string {
    const parsed = failure.safeParse(parseJson(text));
    if (!parsed.success) return '';
    const { error } = parsed.data;
    const words = typeof error === 'string' ? error : error.message;
    const clean = this.#apiKey === null ? words : words.replaceAll(this.#apiKey, '[redacted]');
    return redactText(clean).slice(0, MAX_ERROR_CHARS);
  }
}

/** @throws CONFIG */
function completionsUrl(baseUrl: string, hasKey: boolean): URL {
  const url = URL.parse(baseUrl);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new CloveError('CONFIG', 'the URL of the LLM provider is not one of http or https');
  }
  if (url.username !== '' || url.password !== '') {
    throw new CloveError('CONFIG', 'the URL of the LLM provider has a user name or password in it', {
      hint: 'Name the variable with the key by --llm-key-env.',
    });
  }
  if (hasKey && url.protocol === 'http:' && !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)) {
    throw new CloveError('CONFIG', 'the key for the LLM provider would go over the network in the clear', {
      hint: 'Use https, or no key.',
    });
  }
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/chat/completions`;
  return url;
}

function toChat(request: ModelRequest): Record<string, unknown> {
  const { model, prompt, systemInstruction, image, thinkingLevel, temperature, maxOutputTokens, tools } =
    request;
  const content =
    image === null
      ? prompt
      : [
          { type: 'text', text: prompt },
          { type: 'image_url', image_url: { url: `data:${image.mimeType};base64,${image.data}` } },
        ];
  return {
    model,
    messages: [
      ...(systemInstruction === null ? [] : [{ role: 'system', content: systemInstruction }]),
      { role: 'user', content },
    ],
    stream: false,
    ...(temperature === null ? {} : { temperature }),
    ...(maxOutputTokens === null ? {} : { max_tokens: maxOutputTokens }),
    ...(thinkingLevel === null ? {} : { reasoning_effort: thinkingLevel }),
    ...(tools.length === 0 ? {} : { tools: tools.map((tool) => ({ type: 'function', function: tool })) }),
  };
}

/** Undecoded until it is whole; a body without end is left when it is too long. @throws PAYLOAD_TOO_LARGE */
async function readText(response: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw new CloveError(
        'PAYLOAD_TOO_LARGE',
        `the answer of the LLM provider is larger than ${maxBytes} bytes`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @throws IO */
function parseAnswer(text: string, askedModel: string): ModelAnswer {
  const parsed = chatCompletion.safeParse(parseJson(text));
  if (!parsed.success) throw new CloveError('IO', 'the answer of the LLM provider makes no sense');
  const { choices, model, usage } = parsed.data;
  const [{ message, finish_reason }] = choices as [(typeof choices)[number]];
  const { content } = message;
  return {
    content: typeof content === 'string' ? content : (content ?? []).map((part) => part.text ?? '').join(''),
    functionCalls: (message.tool_calls ?? []).map(toFunctionCall),
    model: model || askedModel,
    finishReason: finish_reason ?? '',
    usage: toUsage(usage),
  };
}

function toFunctionCall({ function: called }: z.output<typeof toolCall>): ModelFunctionCall {
  const parsed = parseJson(called.arguments || '{}');
  // What is no JSON is passed on as it is: better a text than arguments that nobody meant.
  return { name: called.name, arguments: parsed === undefined ? called.arguments : parsed };
}

/** Some count what the model reasoned in the total alone. */
function toUsage(usage: unknown): ModelUsage | null {
  const parsed = chatUsage.safeParse(usage);
  if (!parsed.success) return null;
  const { prompt_tokens, completion_tokens, total_tokens } = parsed.data;
  return {
    inputTokens: prompt_tokens,
    outputTokens: Math.max(completion_tokens, (total_tokens ?? 0) - prompt_tokens),
  };
}

function reasonOf(error: unknown, signal: AbortSignal): CloveError {
  if (signal.aborted && isCloveError(signal.reason)) return signal.reason;
  if (isCloveError(error)) return error;
  const { message, cause } = error as { message?: string; cause?: { code?: unknown; message?: string } };
  const why = typeof cause?.code === 'string' ? cause.code : (cause?.message ?? message ?? 'unknown');
  return new CloveError('IO', `the LLM provider cannot be reached: ${why}`, { cause: error });
}
