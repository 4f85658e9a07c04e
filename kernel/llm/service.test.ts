import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { callingAgent, type TestClient, TestKernel, until } from '../fixture.ts';
import { FakeProvider } from './fixture.ts';
import { llmFromEnvironment } from './providers.ts';

const KEY = 'kernel-key-0123456789';
const KEY_VARIABLE = 'CLOVE_TEST_LLM_KEY';
const ask = (prompt: string) => ({ prompt, async: false });

let provider: FakeProvider;
let kernel: TestKernel;

beforeEach(async () => {
  provider = await FakeProvider.start();
  process.env[KEY_VARIABLE] = KEY;
});
afterEach(async () => {
  delete process.env[KEY_VARIABLE];
  await kernel?.close();
  await provider.close();
});

async function boot(options: Record<string, unknown> = {}): Promise<TestClient> {
  kernel = await TestKernel.boot({
    llm: {
      provider: 'openai-compatible',
      baseUrl: provider.baseUrl,
      model: 'standard',
      apiKeyEnv: KEY_VARIABLE,
      ...options,
    },
  });
  return kernel.connect();
}

/** Answers that wait until they are let go, in the order of the questions. */
function hold(): { readonly prompts: string[]; next(): void } {
  const prompts: string[] = [];
  const waiting: (() => void)[] = [];
  provider.answer = (asked, response) => {
    prompts.push(String(asked.body.messages.at(-1)?.content));
    waiting.push(() => provider.reply(response, 'done'));
  };
  return { prompts, next: () => waiting.shift()?.() };
}

describe('a kernel with a provider', () => {
  it('answers an agent with what the provider said and counted; the agent never sees the key', async () => {
    const client = await boot();
    const agent = await client.run({
      command: [
        'sh',
        '-c',
        'env; cat /proc/self/environ | tr "\\0" "\\n"; exec "$@"',
        'sh',
        ...(callingAgent([
          ['THINK', ask('hi')],
          ['GET_PERMS', {}],
        ]).command as string[]),
      ],
    });
    expect(agent.stdout).not.toContain(KEY);
    expect(agent.stdout).not.toContain(KEY_VARIABLE);
    const answers = JSON.parse(agent.stdout.slice(agent.stdout.indexOf('[{"id"')));
    expect(answers[0].answer).toMatchObject({ success: true, content: 'hello', tokens: 15, model: 'fake-1' });
    expect(answers[1].answer.permissions.llm).toMatchObject({ tokens_used: 15, calls_made: 1 });
    expect(provider.asked[0]).toMatchObject({
      headers: { authorization: `Bearer ${KEY}` },
      body: { model: 'standard' },
    });
  });

  it('serves five contending callers in rounds, however much one of them asks', async () => {
    const first = await boot({ maxConcurrent: 1 });
    const held = hold();
    const clients = [first, ...(await Promise.all([1, 2, 3, 4].map(() => kernel.connect())))];
    for (let index = 0; index < 9; index += 1) clients[0]?.send('THINK', ask('greedy'));
    await until(() => held.prompts.length === 1);
    for (const [index, client] of clients.entries()) {
      if (index > 0) for (let each = 0; each < 2; each += 1) client.send('THINK', ask(`modest ${index}`));
    }
    const { llm } = kernel.running.kernel;
    await until(() => llm.queue.waiting === 16);
    for (let turn = 1; turn <= 17; turn += 1) {
      held.next();
      await until(() => held.prompts.length === Math.min(turn + 1, 17));
    }
    const rounds = [held.prompts.slice(1, 6), held.prompts.slice(6, 11)];
    for (const round of rounds) {
      expect(round.toSorted()).toEqual(['greedy', 'modest 1', 'modest 2', 'modest 3', 'modest 4']);
    }
    expect(held.prompts.slice(11)).toEqual(Array(6).fill('greedy'));
    for (const client of clients.slice(1)) {
      expect([await client.next(), await client.next()]).toMatchObject([
        { success: true },
        { success: true },
      ]);
    }
  });

  it('refuses what one caller asks beyond its places, and goes on with the rest', async () => {
    const client = await boot({ maxConcurrent: 1, maxQueuedPerCaller: 2 });
    const held = hold();
    for (let index = 0; index < 4; index += 1) client.send('THINK', ask(String(index)));
    await until(() => held.prompts.length === 1);
    const { llm } = kernel.running.kernel;
    expect(llm.queue).toMatchObject({ running: 1, waiting: 2 });
    for (let index = 1; index <= 3; index += 1) {
      held.next();
      await until(() => held.prompts.length === Math.min(index + 1, 3));
    }
    const answers = [await client.next(), await client.next(), await client.next(), await client.next()];
    expect(answers.map(({ success, code }) => (success ? 'ok' : code))).toEqual([
      'ok',
      'ok',
      'ok',
      'OVERLOAD',
    ]);
  });

  it('drops what waits or runs for a caller that is gone', async () => {
    const client = await boot({ maxConcurrent: 1 });
    const held = hold();
    const gone = await kernel.connect();
    gone.send('THINK', ask('first'));
    gone.send('THINK', ask('second'));
    gone.send('THINK', { prompt: 'third' });
    await until(() => held.prompts.length === 1);
    await gone.close();
    await until(() => provider.abandoned === 1);
    const { llm } = kernel.running.kernel;
    await until(() => llm.queue.running === 0 && llm.queue.waiting === 0);
    client.send('THINK', ask('mine'));
    await until(() => held.prompts.length === 2);
    held.next();
    held.next();
    expect(held.prompts).toEqual(['first', 'mine']);
    expect(await client.next()).toMatchObject({ success: true });
  });

  it('ends questions with the agent that asks, and with the kernel', async () => {
    const client = await boot({ maxConcurrent: 4 });
    const held = hold();
    const { id } = await client.spawn(callingAgent([['THINK', ask('of an agent')]]));
    await until(() => held.prompts.length === 1);
    await client.call('KILL', { id });
    await until(() => provider.abandoned === 1);
    const { llm } = kernel.running.kernel;
    await until(() => llm.queue.running === 0);
    await client.spawn(
      callingAgent([
        ['THINK', { prompt: 'accepted' }],
        ['RECV', { wait: true }],
      ]),
    );
    client.send('THINK', ask('of a client'));
    await until(() => held.prompts.length === 3);
    await kernel.close();
    expect(llm.queue).toMatchObject({ running: 0, waiting: 0 });
    await until(() => provider.abandoned === 3);
  });

  it('ends a question after its time, and counts what it may have cost', async () => {
    const client = await boot({ timeoutMs: 50, maxOutputTokens: 100 });
    await client.call('SET_PERMS', { permissions: { llm: { max_tokens: 1000 } } });
    provider.answer = () => {};
    const answer = await client.call('THINK', ask('x'.repeat(400)));
    expect(answer).toMatchObject({ success: false, code: 'TIMEOUT', content: '' });
    expect(answer.error).toContain('timeout');
    const { permissions } = await client.call('GET_PERMS');
    expect(permissions.llm).toMatchObject({ tokens_used: 208, calls_made: 1 });
  });

  it('counts nothing but the call where the provider refused', async () => {
    const client = await boot();
    provider.answer = (_asked, response) => provider.send(response, 503, {});
    expect(await client.call('THINK', ask('x'))).toMatchObject({
      success: false,
      error: 'LLM provider answered HTTP 503',
      code: 'IO',
      content: '',
    });
    expect((await client.call('GET_PERMS')).permissions.llm).toMatchObject({ tokens_used: 0, calls_made: 1 });
  });

  it('says where it had to guess what was used', async () => {
    const client = await boot();
    provider.answer = (_asked, response) =>
      provider.send(response, 200, { choices: [{ message: { content: 'abcdefgh' } }] });
    expect(await client.call('THINK', ask('x'.repeat(40)))).toMatchObject({
      success: true,
      tokens_estimated: true,
      input_tokens: 18,
      output_tokens: 2,
    });
  });

  it('lets several questions at a time not go beyond what is left together', async () => {
    const client = await boot({ maxConcurrent: 8, maxOutputTokens: 40 });
    const held = hold();
    await client.call('SET_PERMS', { permissions: { llm: { max_tokens: 120 } } });
    for (let index = 0; index < 3; index += 1) client.send('THINK', ask('abcd'));
    await until(() => held.prompts.length >= 2);
    const limits = provider.asked.map(({ body }) => body.max_tokens);
    expect(limits.slice(0, 2)).toEqual([40, 40]);
    // 9 for each question and 40 for two answers: 13 are left for the third.
    await until(() => held.prompts.length === 3);
    expect(provider.asked[2]?.body.max_tokens).toBe(13);
    for (let index = 0; index < 3; index += 1) held.next();
    for (let index = 0; index < 3; index += 1) await client.next();
    expect((await client.call('GET_PERMS')).permissions.llm).toMatchObject({
      tokens_used: 45,
      calls_made: 3,
    });
  });
});

it('a kernel whose key is not there does not start', async () => {
  delete process.env[KEY_VARIABLE];
  await expect(boot()).rejects.toMatchObject({ code: 'CONFIG' });
  await expect(boot({ apiKeyEnv: null, model: null })).rejects.toMatchObject({ code: 'CONFIG' });
  await expect(boot({ apiKeyEnv: null, baseUrl: null })).rejects.toMatchObject({ code: 'CONFIG' });
  await boot({ apiKeyEnv: null });
});

it('takes a key of Gemini from the variables that existing installations set', () => {
  expect(llmFromEnvironment({})).toBeNull();
  expect(llmFromEnvironment({ GEMINI_API_KEY: '', GOOGLE_API_KEY: 'x' })).toMatchObject({
    provider: 'openai-compatible',
    apiKeyEnv: 'GOOGLE_API_KEY',
    model: 'gemini-2.0-flash',
  });
  expect(llmFromEnvironment({ GEMINI_API_KEY: 'y', GOOGLE_API_KEY: 'x', GEMINI_MODEL: 'm' })).toMatchObject({
    apiKeyEnv: 'GEMINI_API_KEY',
    model: 'm',
  });
});
