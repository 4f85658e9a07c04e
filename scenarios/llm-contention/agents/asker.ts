/** argv: how it asks. polite = two questions at a time, so that one always waits for its turn; greedy = as many as it can, and past the kernel if it can; capped = until it is refused. */
import type * as Sdk from '../../../sdk/typescript/index.ts';

const AT_A_TIME: Readonly<Record<string, number>> = { polite: 2, greedy: 12, capped: 1 };
const behaviour = process.argv.at(-1) ?? '';
const name = process.env.CLOVE_AGENT_NAME ?? '';

const { connect }: typeof Sdk = await import('clove/sdk' as string);
const clove = await connect();
let stopped = false;
let count = 0;

/** Resolves to the error code, or null when it was answered. */
async function ask(): Promise<string | null> {
  try {
    await clove.think(`[${name}] question ${++count}`, { max_tokens: 16 });
    return null;
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

/** Straight to the model’s server: no turns, no quota. */
async function bypass(port: number): Promise<string> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ messages: [{ role: 'user', content: `[${name}] past the kernel` }] }),
      signal: AbortSignal.timeout(3000),
    });
    return `HTTP ${response.status}`;
  } catch (error) {
    const { cause } = error as { cause?: { code?: string } };
    return cause?.code ?? String(error);
  }
}

async function keepAsking(): Promise<void> {
  while (!stopped) {
    const refused = await ask();
    // Its queue is full, or its quota is: the one passes, the other does not.
    if (refused !== null && behaviour === 'capped') {
      await clove.send('oracle', { capped: refused, asked: count });
      return;
    }
    if (refused !== null) await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

for await (const { message } of clove.messages()) {
  const { ask: number, order, port = 0 } = message as { ask?: number; order?: string; port?: number };
  if (number === undefined) continue;
  if (order === 'begin') {
    const outcome = behaviour === 'greedy' ? await bypass(port) : 'polite';
    await clove.send('oracle', { answer: number, outcome });
    for (let index = 0; index < (AT_A_TIME[behaviour] ?? 1); index++) void keepAsking();
  } else {
    stopped = true;
    await clove.send('oracle', { answer: number });
  }
}
