import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CloveError } from '../../errors/index.ts';
import { FakeProvider } from './fixture.ts';
import { ModelFailure, type ModelRequest } from './model.ts';
import { OpenAiCompatibleProvider } from './openai-compatible.ts';

const KEY = 'test-key-0123456789';
const QUESTION: ModelRequest = {
  model: 'wanted',
  prompt: 'why',
  systemInstruction: null,
  image: null,
  thinkingLevel: null,
  temperature: null,
  maxOutputTokens: null,
  tools: [],
};

let server: FakeProvider;
let provider: OpenAiCompatibleProvider;
const never = new AbortController().signal;

beforeEach(async () => {
  server = await FakeProvider.start();
  provider = new OpenAiCompatibleProvider({ baseUrl: `${server.baseUrl}/`, model: 'standard', apiKey: KEY });
});
afterEach(() => server.close());

async function failureOf(signal = never): Promise<ModelFailure> {
  const error = await provider.complete(QUESTION, signal).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ModelFailure);
  return error as ModelFailure;
}

describe('a provider that speaks the chat completions protocol', () => {
  it('is asked the least that the question needs, with the key as a bearer token', async () => {
    const answer = await provider.complete(QUESTION, never);
    expect(server.asked).toHaveLength(1);
    expect(server.asked[0]).toMatchObject({
      path: '/v1/chat/completions',
      headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
    });
    expect(server.asked[0]?.body).toEqual({
      model: 'wanted',
      messages: [{ role: 'user', content: 'why' }],
      stream: false,
    });
    expect(answer).toEqual({
      content: 'hello',
      functionCalls: [],
      model: 'fake-1',
      finishReason: 'stop',
      usage: { inputTokens: 10, outputTokens: 5 },
    });
  });

  it('is given image, system instruction, level, temperature, limit and tools', async () => {
    const tool = { name: 'look_up', description: 'd', parameters: { type: 'object' } };
    await provider.complete(
      {
        ...QUESTION,
        systemInstruction: 'be brief',
        image: { data: 'QUJD', mimeType: 'image/png' },
        thinkingLevel: 'high',
        temperature: 0,
        maxOutputTokens: 9,
        tools: [tool],
      },
      never,
    );
    expect(server.asked[0]?.body).toEqual({
      model: 'wanted',
      messages: [
        { role: 'system', content: 'be brief' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'why' },
            { type: 'image_url', image_url: { url: 'data:image/png;base64,QUJD' } },
          ],
        },
      ],
      stream: false,
      temperature: 0,
      max_tokens: 9,
      reasoning_effort: 'high',
      tools: [{ type: 'function', function: tool }],
    });
  });

  it('may call functions, and its text may come in parts', async () => {
    server.answer = (_asked, response) =>
      server.reply(response, null, undefined, {
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
        tool_calls: [
          { id: '1', type: 'function', function: { name: 'f', arguments: '{"x":[1]}' } },
          { id: '2', type: 'function', function: { name: 'g', arguments: '{broken' } },
        ],
      });
    expect(await provider.complete(QUESTION, never)).toMatchObject({
      content: 'ab',
      functionCalls: [
        { name: 'f', arguments: { x: [1] } },
        { name: 'g', arguments: '{broken' },
      ],
    });
  });

  it.each([
    ['counts reasoning in the total alone', { prompt_tokens: 3, completion_tokens: 4, total_tokens: 50 }, 47],
    ['gives no total', { prompt_tokens: 3, completion_tokens: 4 }, 4],
    ['gives too small a total', { prompt_tokens: 3, completion_tokens: 4, total_tokens: 1 }, 4],
  ])('may be one that %s', async (_what, usage, outputTokens) => {
    server.answer = (_asked, response) => server.reply(response, 'x', usage);
    expect((await provider.complete(QUESTION, never)).usage).toEqual({ inputTokens: 3, outputTokens });
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['negative counts', { prompt_tokens: -100, completion_tokens: 5 }],
    ['words', { prompt_tokens: '10', completion_tokens: 5 }],
    ['fractions', { prompt_tokens: 1.5, completion_tokens: 5 }],
    ['absurd counts', { prompt_tokens: 1e300, completion_tokens: 5 }],
  ])('has not counted where its usage is %s', async (_what, usage) => {
    server.answer = (_asked, response) =>
      server.send(response, 200, { choices: [{ message: { content: 'x' } }], usage });
    expect(await provider.complete(QUESTION, never)).toMatchObject({
      content: 'x',
      usage: null,
      model: 'wanted',
    });
  });

  it.each([
    ['no JSON', 'hello'],
    ['no choices', { choices: [] }],
    ['deep nonsense', '['.repeat(100_000)],
    ['an array', []],
  ])('answers in vain with %s, and may have to be paid', async (_what, body) => {
    server.answer = (_asked, response) => server.send(response, 200, body);
    const failure = await failureOf();
    expect(failure).toMatchObject({ mayHaveCost: true, error: { code: 'IO' } });
  });

  it('answers no more than a limit', async () => {
    server.answer = (_asked, response) => {
      response.writeHead(200);
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(65_536))) {}
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    };
    expect(await failureOf()).toMatchObject({ mayHaveCost: true, error: { code: 'PAYLOAD_TOO_LARGE' } });
  });

  it('says why it refuses, but never the key', async () => {
    server.answer = (_asked, response) =>
      server.send(response, 400, { error: { message: `no model for ${KEY}, sk-abcdefghijklmnop` } });
    const { error, mayHaveCost } = await failureOf();
    expect(error.message).toBe('LLM provider answered HTTP 400: no model for [redacted], [redacted]');
    expect(mayHaveCost).toBe(false);
    server.answer = (_asked, response) =>
      server.send(response, 401, { error: { message: 'key starts with te' } });
    expect((await failureOf()).error.message).toBe('LLM provider answered HTTP 401');
    server.answer = (_asked, response) => server.send(response, 429, { error: 'slow down' });
    expect((await failureOf()).error).toMatchObject({
      code: 'OVERLOAD',
      message: 'LLM provider answered HTTP 429: slow down',
    });
    server.answer = (_asked, response) => server.send(response, 500, '<html>');
    expect((await failureOf()).error.message).toBe('LLM provider answered HTTP 500');
  });

  it('cannot send the key elsewhere', async () => {
    const other = await FakeProvider.start();
    try {
      server.answer = (_asked, response) =>
        server.send(response, 307, {}, { location: `${other.baseUrl}/chat/completions` });
      expect((await failureOf()).error.code).toBe('IO');
      expect(other.asked).toEqual([]);
    } finally {
      await other.close();
    }
  });

  it('is left when the caller is gone, for the reason that was given', async () => {
    const gone = new AbortController();
    server.answer = () => gone.abort(new CloveError('CANCELLED', 'the caller is gone'));
    expect(await failureOf(gone.signal)).toMatchObject({ mayHaveCost: true, error: { code: 'CANCELLED' } });
    await expect.poll(() => server.abandoned).toBe(1);
  });

  it('has cost nothing where nobody listens', async () => {
    await server.close();
    expect(await failureOf()).toMatchObject({ mayHaveCost: false, error: { code: 'IO' } });
  });

  it('may have cost something where it hung up without an answer', async () => {
    const rude = createServer((socket) => socket.once('data', () => socket.destroy()));
    await new Promise<void>((resolve) => rude.listen(0, '127.0.0.1', resolve));
    const { port } = rude.address() as { port: number };
    provider = new OpenAiCompatibleProvider({
      baseUrl: `http://127.0.0.1:${port}`,
      model: 'm',
      apiKey: null,
    });
    expect(await failureOf()).toMatchObject({ mayHaveCost: true, error: { code: 'IO' } });
    await new Promise((resolve) => rude.close(resolve));
  });
});

it.each([
  ['ftp://example.org/v1', null],
  ['not a url', null],
  ['https://user:pass@example.org/v1', null],
  ['http://example.org/v1', KEY],
])('refuses the base URL %s', (baseUrl, apiKey) => {
  expect(() => new OpenAiCompatibleProvider({ baseUrl, model: 'm', apiKey })).toThrow(
    expect.objectContaining({ code: 'CONFIG' }),
  );
});

it('takes http without a key, and keeps a query', async () => {
  const plain = new OpenAiCompatibleProvider({
    baseUrl: `${server.baseUrl}?api-version=1`,
    model: 'm',
    apiKey: null,
  });
  await plain.complete(QUESTION, never);
  expect(server.asked[0]?.path).toBe('/v1/chat/completions?api-version=1');
  expect(server.asked[0]?.headers.authorization).toBeUndefined();
});
