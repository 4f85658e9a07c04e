import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callingAgent, type TestClient, TestKernel } from '../fixture.ts';

const DENIED = 'Permission denied: LLM quota exceeded or not allowed';
const ask = { prompt: 'why is the sky blue', async: false };

let kernel: TestKernel;
let client: TestClient;

beforeAll(async () => {
  kernel = await TestKernel.boot({ llm: { provider: 'mock', mockSeed: 7 } });
  client = await kernel.connect();
});
afterAll(() => kernel.close());

/** What an agent's calls are answered, in their order. */
async function answersOf(request: Record<string, unknown>, permissions?: object): Promise<unknown[]> {
  const ended = await client.run({ ...request, ...(permissions === undefined ? {} : { permissions }) });
  expect(ended, ended.stderr).toMatchObject({ reason: 'exited' });
  return JSON.parse(ended.stdout).map(({ answer }: { answer: unknown }) => answer);
}

describe('THINK', () => {
  it('answers with content and tokens, the same for the same question', async () => {
    const first = await client.call('THINK', ask);
    expect(first).toMatchObject({ success: true, model: 'mock', finish_reason: 'stop', input_tokens: 5 });
    expect(first.content).toMatch(/^\w+( \w+)+\.$/);
    expect(first.tokens).toBe(first.input_tokens + first.output_tokens);
    const again = await client.call('THINK', ask);
    expect({ ...again, duration_ms: 0 }).toEqual({ ...first, duration_ms: 0 });
    expect((await client.call('THINK', { ...ask, temperature: 1 })).content).not.toBe(first.content);
    const cut = await client.call('THINK', { ...ask, max_tokens: 2 });
    expect(cut).toMatchObject({ output_tokens: 2, finish_reason: 'length' });
    expect(first.content.startsWith(cut.content.slice(0, -1))).toBe(true);
  });

  it('is accepted and answered later where `async` is true or absent', async () => {
    const waited = await client.call('THINK', ask);
    for (const request of [
      { prompt: ask.prompt, request_id: 77 },
      { ...ask, async: true },
    ]) {
      const accepted = await client.call('THINK', request);
      expect(accepted).toMatchObject({ success: true, async: true, status: 'accepted' });
      const { results } = await client.call('ASYNC_POLL', { request_id: accepted.request_id, wait: true });
      expect(results).toMatchObject([{ opcode: 1, opcode_name: 'THINK', success: true }]);
      const later = JSON.parse(results[0].payload);
      expect({ ...later, duration_ms: 0 }).toEqual({ ...waited, duration_ms: 0 });
    }
  });

  it('takes an image, tools and a thinking level; a large image too', async () => {
    const data = Buffer.alloc(700_000, 1).toString('base64');
    const answer = await client.call('THINK', {
      ...ask,
      image: { data, mime_type: 'image/png' },
      thinking_level: 'deepest',
      system_instruction: 'be brief',
      tools: [{ name: 'look_up', description: 'd', parameters: { type: 'object' } }],
    });
    expect(answer).toMatchObject({ success: true, input_tokens: 7 });
  });

  it.each([
    ['a number for a prompt', { prompt: 7 }],
    ['no prompt at all', {}],
    ['an image that is not base64', { ...ask, image: { data: '<>' } }],
    ['an image of another type', { ...ask, image: { data: 'AAAA', mime_type: 'text/html' } }],
    ['a negative limit', { ...ask, max_tokens: -1 }],
    ['a limit in words', { ...ask, max_tokens: '10' }],
    ['a temperature in words', { ...ask, temperature: 'hot' }],
    ['a tool without a name', { ...ask, tools: [{}] }],
    ['no object', [1]],
  ])('refuses %s', async (_what, request) => {
    const answer = await client.call('THINK', request);
    expect(answer).toMatchObject({ success: false, content: '', code: 'BAD_REQUEST' });
    expect(answer.error).toMatch(/^invalid request: /);
  });

  it('takes an empty payload and one that is no JSON for a question without a prompt', async () => {
    for (const payload of ['', 'x{', '"x"']) {
      const answer = JSON.parse(await client.callText(0x01, payload));
      expect(answer).toMatchObject({ success: false, content: '', code: 'BAD_REQUEST' });
    }
  });

  it('is refused to who may not think, with a rule', async () => {
    const [thought, reported] = await answersOf(
      callingAgent([
        ['THINK', ask],
        ['LLM_REPORT', { tokens: 5 }],
      ]),
      { can_think: false },
    );
    expect(thought).toMatchObject({
      success: false,
      content: '',
      error: DENIED,
      code: 'FORBIDDEN',
      details: { rule: 'syscall.not-granted:THINK' },
    });
    expect(reported).toMatchObject({
      success: false,
      error: 'LLM quota exceeded or permission denied',
      quota_exceeded: false,
    });
  });

  it('keeps to the calls that are granted, and records the refusal', async () => {
    await client.call('SUBSCRIBE', { event_types: ['SYSCALL_BLOCKED'] });
    const answers = await answersOf(
      callingAgent([
        ['THINK', ask],
        ['THINK', ask],
        ['THINK', { ...ask, async: true, request_id: 3 }],
        ['ASYNC_POLL', { request_id: 3, wait: true }],
        ['GET_PERMS', {}],
        ['METRICS_AGENT', {}],
      ]),
      { llm: { max_calls: 1 } },
    );
    const [first, second, accepted, polled, perms, metrics] = answers as Record<string, unknown>[];
    expect(first).toMatchObject({ success: true });
    expect(second).toMatchObject({
      success: false,
      error: DENIED,
      content: '',
      details: { rule: 'quota.exceeded:llm_calls' },
    });
    expect(accepted).toMatchObject({ async: true });
    expect(polled).toMatchObject({ results: [{ success: false, error: DENIED }] });
    expect(perms).toMatchObject({
      permissions: { llm: { max_calls: 1, calls_made: 1, tokens_used: first?.tokens } },
    });
    expect(metrics).toMatchObject({
      metrics: { kernel_stats: { llm_calls: 1, llm_tokens_used: first?.tokens } },
    });
    const { events } = await client.call('POLL_EVENTS');
    expect(events.map(({ data }: { data: { rule: string } }) => data.rule)).toEqual([
      'quota.exceeded:llm_calls',
      'quota.exceeded:llm_calls',
    ]);
    await client.call('UNSUBSCRIBE', { all: true });
  });

  it('gives no longer answer than the token quota has left, and then none', async () => {
    const prompt = 'one two three';
    const answers = await answersOf(
      callingAgent([
        ['THINK', { prompt, async: false }],
        ['THINK', { prompt, async: false }],
      ]),
      { llm: { max_tokens: 16 } },
    );
    const [first, second] = answers as Record<string, number>[];
    // The question is reserved as 12 tokens; it turns out to be 3.
    expect(first).toMatchObject({ success: true, output_tokens: 4, finish_reason: 'length', tokens: 7 });
    expect(second).toMatchObject({ success: false, error: DENIED });
  });

  it('counts a child against its parent', async () => {
    const spawnChild = {
      name: 'thinking-child',
      ...callingAgent([
        ['THINK', ask],
        ['THINK', ask],
      ]),
    };
    const parent = await client.run({
      ...callingAgent([
        ['SPAWN', spawnChild],
        ['WAIT', { name: 'thinking-child' }],
        ['LOGS', { name: 'thinking-child' }],
        ['THINK', ask],
      ]),
      permissions: { can_spawn: true, can_exec: true, exec: ['*'], llm: { max_calls: 1 } },
    });
    const [, , logs, own] = JSON.parse(parent.stdout).map(({ answer }: { answer: unknown }) => answer);
    const [first, second] = JSON.parse(logs.stdout).map(({ answer }: { answer: unknown }) => answer);
    expect(first).toMatchObject({ success: true });
    expect(second).toMatchObject({ success: false, error: DENIED });
    expect(own).toMatchObject({ success: false, error: DENIED });
  });
});

describe('LLM_REPORT', () => {
  it('counts a call and its tokens, also beyond the quota and without tokens', async () => {
    const answers = await answersOf(
      callingAgent([
        ['LLM_REPORT', { tokens: 10, success: true }],
        ['LLM_REPORT', { success: false }],
        ['LLM_REPORT', { tokens: 100 }],
        ['GET_PERMS', {}],
        ['THINK', ask],
      ]),
      { llm: { max_tokens: 50, max_calls: 100 } },
    );
    const [within, empty, beyond, perms, thought] = answers;
    expect(within).toEqual({ success: true, tokens: 10, quota_exceeded: false });
    expect(empty).toEqual({ success: true, tokens: 0, quota_exceeded: false });
    expect(beyond).toEqual({
      success: false,
      tokens: 100,
      quota_exceeded: true,
      error: 'LLM quota exceeded or permission denied',
    });
    expect(perms).toMatchObject({ permissions: { llm: { tokens_used: 110, calls_made: 3 } } });
    expect(thought).toMatchObject({ success: false, error: DENIED });
  });

  it('refuses what would lower the use or belong to others, and changes nothing (D15)', async () => {
    const victim = await client.spawn({ command: ['sleep', '60'] });
    const [, ...refused] = (await answersOf(
      callingAgent([
        ['LLM_REPORT', { tokens: 40 }],
        ['LLM_REPORT', { tokens: -40 }],
        ['LLM_REPORT', '{"tokens":NaN}'],
        ['LLM_REPORT', '{"tokens":1e999}'],
        ['LLM_REPORT', { tokens: '40' }],
        ['LLM_REPORT', { tokens: 1.5 }],
        ['LLM_REPORT', { tokens: null }],
        ['LLM_REPORT', [40]],
        ['LLM_REPORT', { tokens: 40, agent_id: victim.id }],
        ['LLM_REPORT', { tokens: 2 ** 53 }],
        ['GET_PERMS', {}],
      ]),
    )) as Record<string, unknown>[];
    const perms = refused.pop();
    expect(refused.map(({ success }) => success)).toEqual(refused.map(() => false));
    expect(refused.map(({ code }) => code)).toEqual([
      ...Array(7).fill('BAD_REQUEST'),
      'FORBIDDEN',
      'BAD_REQUEST',
    ]);
    expect(perms).toMatchObject({ permissions: { llm: { tokens_used: 40, calls_made: 1 } } });
    expect(await client.call('GET_PERMS', { agent_id: victim.id })).toMatchObject({
      permissions: { llm: { tokens_used: 0, calls_made: 0 } },
    });
    await client.call('KILL', { id: victim.id });
  });

  it('holds an operator’s client to what it has limited itself to', async () => {
    const own = await kernel.connect();
    await own.call('SET_PERMS', { permissions: { llm: { max_tokens: 20 } } });
    expect(await own.call('LLM_REPORT', { tokens: 20 })).toMatchObject({ success: true });
    expect(await own.call('THINK', ask)).toMatchObject({ success: false, error: DENIED });
    expect(await own.call('GET_PERMS')).toMatchObject({ permissions: { llm: { tokens_used: 20 } } });
    expect(await client.call('THINK', ask)).toMatchObject({ success: true });
  });
});

describe('a kernel without a model', () => {
  it('says so in the words existing clients know, and in HELLO', async () => {
    expect((await client.call('HELLO')).features.llm_in_kernel).toBe(true);
    const bare = await TestKernel.boot();
    try {
      const other = await bare.connect();
      for (const request of [ask, {}, { async: true }]) {
        expect(await other.call('THINK', request)).toMatchObject({
          success: false,
          content: '',
          error: 'LLM not configured (set GEMINI_API_KEY)',
        });
      }
      expect((await other.call('HELLO')).features.llm_in_kernel).toBe(false);
    } finally {
      await bare.close();
    }
  });
});
