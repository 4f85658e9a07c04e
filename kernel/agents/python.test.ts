import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type TestClient, TestKernel } from '../fixture.ts';

let kernel: TestKernel;
let client: TestClient;
beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
});
afterAll(() => kernel.close());

const AGENT = `
import sys
import clove_sdk
with clove_sdk.CloveClient() as clove:
    clove.send_message({"from": clove_sdk.__file__}, to_name="parent")
    print(clove.fetch_value("question"))
try:
    open(clove_sdk.__file__, "a")
except OSError as error:
    print(type(error).__name__)
`;

it('a Python agent imports the SDK with nothing installed, and talks to the kernel', async (ctx) => {
  if (!existsSync('/usr/bin/python3')) ctx.skip('no python3 in the system folders');
  const folder = path.join(kernel.folder, 'python');
  mkdirSync(folder, { mode: 0o755 });
  writeFileSync(path.join(folder, 'agent.py'), AGENT, { mode: 0o644 });
  await client.call('STORE', { key: 'question', value: 42 });
  for (const request of [
    { script: path.join(folder, 'agent.py'), python: '/usr/bin/python3' },
    { command: ['/usr/bin/python3', '-c', AGENT] },
  ]) {
    const exit = await client.run(request);
    expect(exit.stderr).toBe('');
    expect(exit).toMatchObject({ reason: 'exited', exit_code: 0 });
    expect(exit.stdout).toMatch(/^42\n(OSError|PermissionError)\n$/);
    const { messages } = await client.call('RECV');
    expect(messages).toMatchObject([
      { from: exit.agent_id, message: { from: '/opt/clove/python/clove_sdk/__init__.py' } },
    ]);
  }
});
