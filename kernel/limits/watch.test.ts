import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestClient, TestKernel } from '../fixture.ts';

let kernel: TestKernel;
let client: TestClient;

beforeAll(async () => {
  kernel = await TestKernel.boot({ checkAnswers: false });
  client = await kernel.connect();
  await client.call('SUBSCRIBE', { event_types: ['RESOURCE_WARNING'] });
});
afterAll(async () => {
  await client.close();
  await kernel.close();
});

/** The first warning about an agent that does this and then stays. */
async function warningOf(script: string, limits: Readonly<Record<string, number>>): Promise<unknown> {
  const command = ['/usr/bin/python3', '-c', `import os, time\n${script}\ntime.sleep(1000)`];
  const { id } = await client.spawn({ command, limits });
  try {
    for (;;) {
      const { events } = await client.call('POLL_EVENTS', { wait: true, timeout_ms: 30_000 });
      for (const { data } of events) if (data.agent_id === id) return data;
      if (events.length === 0) return null;
    }
  } finally {
    await client.call('KILL', { id, grace_ms: 0 });
  }
}

describe('an agent that has done nothing for a while', () => {
  it.each([
    ['tmpfs', { tmpfs: 2 ** 20 }, `os.write(os.open('/tmp/full', os.O_CREAT | os.O_WRONLY), b'x' * 2**21)`],
    ['inodes', { tmpfs_inodes: 64 }, `[open(f'/tmp/{n}', 'w') for n in range(100)]`],
    ['fds', { open_files: 64 }, `held = os.dup(0)\nwhile held < 63: held = os.dup(0)`],
  ])('is told of its limit when it meets it: %s', async (resource, limits, step) => {
    const script = `time.sleep(1)\ntry:\n    exec(${JSON.stringify(step)})\nexcept OSError: pass`;
    expect(await warningOf(script, limits)).toMatchObject({ resource });
  });
});

it('descriptors are seen of whichever process of an agent has most of them', async () => {
  const script = `
for n in range(6):
    if os.fork() == 0: time.sleep(1000)
if os.fork() == 0:
    held = os.dup(0)
    while held < 63: held = os.dup(0)`;
  expect(await warningOf(script, { open_files: 64 })).toMatchObject({ resource: 'fds', used: 64 });
});
