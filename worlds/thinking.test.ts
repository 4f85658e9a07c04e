import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, callingAgent, type TestClient, TestKernel } from '../kernel/fixture.ts';
import { ensureNative } from '../native/index.ts';
import { worldHost } from './engine.ts';

/** What a model takes in real time; a price is nothing like it. */
const LATENCY_MS = 150;
const isRoot = process.geteuid?.() === 0;
let kernel: TestKernel;
let client: TestClient;

beforeAll(async () => {
  await ensureNative();
  kernel = await TestKernel.boot(
    { llm: { provider: 'mock', mockSeed: 7, mockLatencyMs: LATENCY_MS } },
    { worlds: worldHost() },
  );
  client = await kernel.connect();
}, 300_000);
afterAll(() => kernel.close());

const ask = { prompt: 'why is the sky blue', async: false };

async function create(clock: Record<string, unknown>, more: Record<string, unknown> = {}): Promise<string> {
  const created = await client.call('WORLD_CREATE', { name: 'm', config: { clock, open: true, ...more } });
  expect(created).toMatchObject({ success: true });
  return created.world_id as string;
}

/** What an agent in a world is answered, and what the world says of its model calls. */
async function thinks(
  world: string,
  calls: readonly (readonly [string, unknown])[] = [['THINK', ask]],
): Promise<{ answers: Answer[]; llm: Answer; ms: number }> {
  const ended = await client.run({ world, ...callingAgent(calls as Parameters<typeof callingAgent>[0]) });
  expect(ended, ended.stderr).toMatchObject({ reason: 'exited' });
  const answers = JSON.parse(ended.stdout).map(({ answer }: { answer: unknown }) => answer);
  const state = await client.call('WORLD_STATE', { world_id: world });
  return { answers, llm: state.state.llm, ms: state.state.clock.monotonicMs };
}

describe.each(isRoot ? ['virtual', 'mounted'] : ['virtual'])('a model asked in a %s world', (form) => {
  const world = (llm_time: string, mode = 'skip') => create({ mode, llm_time }, { form });

  it('costs what it takes', async () => {
    const { answers, llm } = await thinks(await world('real'));
    expect(answers[0]).toMatchObject({ success: true });
    expect(answers[0].duration_ms).toBeGreaterThanOrEqual(LATENCY_MS - 5);
    expect(llm).toMatchObject({ time: 'real', calls: 1, failed: 0 });
    expect(llm.charged_ms).toBeGreaterThanOrEqual(LATENCY_MS - 5);
  });

  it('costs nothing', async () => {
    const { answers, llm } = await thinks(await world('free'));
    expect(answers[0]).toMatchObject({ success: true, duration_ms: 0 });
    expect(llm).toMatchObject({ time: 'free', calls: 1, charged_ms: 0 });
    expect(llm.real_ms).toBeGreaterThanOrEqual(LATENCY_MS - 5);
  });

  it('costs a fixed price, an hour at once', async () => {
    const { answers, llm, ms } = await thinks(await world('fixed:3600000'), [
      ['THINK', ask],
      ['THINK', ask],
    ]);
    for (const answer of answers) {
      expect(answer.duration_ms).toBeGreaterThanOrEqual(3_600_000);
      expect(answer.duration_ms).toBeLessThan(3_660_000);
    }
    expect(llm).toMatchObject({ time: 'fixed:3600000', calls: 2, charged_ms: 7_200_000 });
    expect(ms).toBeGreaterThanOrEqual(7_200_000);
  });

  it('costs by the token', async () => {
    const { answers, llm } = await thinks(await world('per-token:2000000'));
    expect(llm.charged_ms).toBe(answers[0].tokens * 2000);
  });

  it('costs its price where it is answered later, too', async () => {
    const { answers } = await thinks(await world('fixed:3600000'), [
      ['THINK', { prompt: ask.prompt, request_id: 7 }],
      ['ASYNC_POLL', { request_id: 7, wait: true, timeout_ms: 7_200_000 }],
    ]);
    const [result] = answers[1].results;
    expect(JSON.parse(result.payload).duration_ms).toBeGreaterThanOrEqual(3_600_000);
  });

  it('costs what it takes, as it would be recorded', async () => {
    const { llm } = await thinks(await world('recorded'));
    expect(llm).toMatchObject({ time: 'recorded', calls: 1 });
    expect(llm.charged_ms).toBeGreaterThanOrEqual(LATENCY_MS - 5);
  });
});

describe('a world whose model calls have a price', () => {
  it('stands still for everybody while a call is under way', async () => {
    const world = await create({ mode: 'skip', llm_time: 'free' });
    await client.call('WORLD_JOIN', { world_id: world });
    const before = await client.call('WORLD_STATE', { world_id: world });
    await client.call('THINK', ask);
    const after = await client.call('WORLD_STATE', { world_id: world });
    await client.call('WORLD_LEAVE');
    // What is left is the time of the three calls; without standing still it would be the model's as well.
    expect(after.state.llm.real_ms).toBeGreaterThanOrEqual(LATENCY_MS - 5);
    expect(after.state.clock.monotonicMs - before.state.clock.monotonicMs).toBeGreaterThanOrEqual(0);
    expect(after.state.llm.charged_ms).toBe(0);
  });

  it('charges what a call took when it was recorded, of a model that answers from the recording', async () => {
    await client.call('RECORD_START', {});
    const asked = await client.call('THINK', ask);
    const { file } = await client.call('RECORD_STOP');
    const replaying = await TestKernel.boot(
      { llm: { provider: 'recorded', recordingFile: file } },
      { worlds: worldHost() },
    );
    try {
      const own = await replaying.connect();
      const { world_id } = await own.call('WORLD_CREATE', { config: { clock: { llm_time: 'recorded' } } });
      await own.call('WORLD_JOIN', { world_id });
      const again = await own.call('THINK', ask);
      expect(again).toMatchObject({ content: asked.content, tokens: asked.tokens });
      const { state } = await own.call('WORLD_STATE', { world_id });
      expect(asked.duration_ms).toBeGreaterThanOrEqual(LATENCY_MS - 5);
      expect(state.llm).toMatchObject({ calls: 1, charged_ms: Math.round(asked.duration_ms) });
      expect(await own.call('THINK', { ...ask, prompt: 'something else' })).toMatchObject({
        success: false,
        code: 'NOT_FOUND',
      });
    } finally {
      await replaying.close();
      rmSync(file);
    }
  });

  it('is refused in mode real, where there is no time but the real one', async () => {
    const refused = await client.call('WORLD_CREATE', {
      config: { clock: { mode: 'real', llm_time: 'free' } },
    });
    expect(refused).toMatchObject({ success: false, error: expect.stringContaining('llm_time') });
  });

  it('charges a fixed price for a call that fails', async () => {
    const bare = await TestKernel.boot(
      { llm: { provider: 'openai-compatible', baseUrl: 'http://127.0.0.1:9/v1', model: 'none' } },
      { worlds: worldHost() },
    );
    try {
      const own = await bare.connect();
      const { world_id } = await own.call('WORLD_CREATE', { config: { clock: { llm_time: 'fixed:60000' } } });
      await own.call('WORLD_JOIN', { world_id });
      expect(await own.call('THINK', ask)).toMatchObject({ success: false });
      const { state } = await own.call('WORLD_STATE', { world_id });
      expect(state.llm).toMatchObject({ calls: 1, failed: 1, charged_ms: 60_000 });
    } finally {
      await bare.close();
    }
  });
});
