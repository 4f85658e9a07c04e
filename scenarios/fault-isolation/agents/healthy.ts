/** Answers whoever asks. Knows nothing of its neighbours. */
import type * as Sdk from '../../../sdk/typescript/index.ts';

const { connect }: typeof Sdk = await import('clove/sdk' as string);
const clove = await connect();
let answered = 0;
for await (const { message } of clove.messages()) {
  const { ask } = message as { ask?: number };
  if (ask !== undefined) await clove.send('oracle', { answer: ask, answered: ++answered });
}
