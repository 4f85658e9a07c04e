import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { TestKernel } from '../../kernel/fixture.ts';
import { type CloveClient, connect } from './index.ts';

let kernel: TestKernel;
let clove: CloveClient;

beforeAll(async () => {
  kernel = await TestKernel.boot({ llm: { provider: 'mock', mockLatencyMs: 5, maxConcurrent: 2 } });
  chmodSync(kernel.folder, 0o755);
  clove = await connect(kernel.running.socketPath);
});
afterAll(async () => {
  await clove.close();
  await kernel.close();
});

it('asks the kernel’s model, several questions at once, while it does other things', async () => {
  const questions = ['a', 'b', 'c', 'd', 'e', 'f'];
  const asked = Promise.all(questions.map((prompt) => clove.think(prompt, { max_tokens: 5 })));
  expect(await clove.echo('meanwhile')).toBe('meanwhile');
  const answers = await asked;
  expect(new Set(answers.map(({ content }) => content)).size).toBe(6);
  for (const answer of answers) expect(answer).toMatchObject({ model: 'mock', output_tokens: 5, tokens: 6 });
});

it('asks now and takes the answer later', async () => {
  const first = await clove.submit('THINK', { prompt: 'x' });
  const accepted = await clove.call('THINK', { prompt: 'x' });
  expect(accepted).toMatchObject({ async: true });
  for (const requestId of [first, (accepted as { request_id: number }).request_id]) {
    const [result] = await clove.pollAsync({ requestId, wait: true });
    expect(result).toMatchObject({ opcode_name: 'THINK', success: true, result: { model: 'mock' } });
  }
});

it('rejects with the code of what went wrong', async () => {
  await expect(clove.think('')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  const bare = await TestKernel.boot();
  try {
    const other = await connect(bare.running.socketPath);
    await expect(other.think('x')).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: 'LLM not configured (set GEMINI_API_KEY)',
    });
    await other.close();
  } finally {
    await bare.close();
  }
});

it('lets an agent think and report within its quota, and not beyond', async () => {
  const file = path.join(kernel.folder, 'thinker.mjs');
  writeFileSync(
    file,
    `import { connect } from 'clove/sdk';
     const clove = await connect();
     await clove.receive({ wait: true });
     const within = await clove.reportTokens(60);
     const answer = await clove.think('one two', { max_tokens: 3 });
     const beyond = await clove.reportTokens(60);
     const refused = await clove.think('more').catch((error) => error.code);
     const { used } = await clove.quota();
     console.log(JSON.stringify([within, answer.tokens, beyond, refused, used.llm_tokens, used.llm_calls]));
     await clove.close();`,
    { mode: 0o644 },
  );
  const { id } = await clove.spawn({ script: file });
  await clove.setQuota({ llm_tokens: 100 }, id);
  await clove.send(id, 'go');
  await clove.wait(id);
  const { stdout, stderr } = await clove.logs(id);
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toEqual([true, 5, false, 'FORBIDDEN', 125, 3]);
});
