import { expect } from 'vitest';
import type { Answer, TestClient } from '../kernel/fixture.ts';

/** Every agent of the kernel is gone when this is over. */
export async function killAll(client: TestClient): Promise<void> {
  for (const { id } of (await client.call('LIST')) as { id: number }[]) {
    await client.call('KILL', { id });
    await client.call('WAIT', { id });
  }
}

/** The next message to the client, of whoever says something. */
export async function said(client: TestClient): Promise<Answer> {
  const { messages } = await client.call('RECV', { wait: true, max: 1, timeout_ms: 60_000 });
  expect(messages).toHaveLength(1);
  return messages[0].message;
}
