import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, callingAgent, type TestClient, TestKernel } from '../../kernel/fixture.ts';
import { ensureNative } from '../../native/index.ts';
import { worldHost } from '../engine.ts';
import { unifiedMount } from './control-group.ts';

const hasGroups = unifiedMount() !== null && process.geteuid?.() === 0;
let kernel: TestKernel;
let client: TestClient;

beforeAll(async () => {
  await ensureNative();
  if (!hasGroups) return;
  kernel = await TestKernel.boot({}, { worlds: worldHost() });
  client = await kernel.connect();
}, 300_000);
afterAll(() => kernel?.close());

async function create(mode: 'skip' | 'strict' = 'skip'): Promise<string> {
  const config = {
    form: 'mounted',
    open: true,
    clock: { mode, start: '2031-05-06T07:00:00Z' },
    seed: 5,
    network: { routes: [{ host: 'api.test', delay_ms: 4000, body: 'pong' }] },
  };
  const created = await client.call('WORLD_CREATE', { name: 'm', config });
  expect(created, JSON.stringify(created)).toMatchObject({ success: true });
  return created.world_id as string;
}

describe.runIf(hasGroups)('agents of a kernel, in a world that skips', () => {
  it('live through eight hours of sleeps and slow services, and no call runs out of time', async () => {
    const world = await create();
    const program = `
import time, urllib.request
for _ in range(8):
    assert urllib.request.urlopen("http://api.test/", timeout=5).read() == b"pong"
    time.sleep(3596)
print(time.strftime("%F %H", time.gmtime()))`;
    const answers = await Promise.all(
      ['one', 'two', 'three'].map((name) => client.run({ world, name, command: ['python3', '-c', program] })),
    );
    for (const { stdout, stderr } of answers as Answer[]) expect(stdout, stderr).toBe('2031-05-06 15\n');
    expect(await client.call('WORLD_DESTROY', { world_id: world, force: true })).toMatchObject({
      success: true,
    });
  });

  it('see in a strict world what its seed says, to the nanosecond', { timeout: 120_000 }, async () => {
    const program = `
import random, threading, time, urllib.request
lines = []
def ask(name):
    for _ in range(3):
        time.sleep(random.randrange(3600))
        assert urllib.request.urlopen("http://api.test/", timeout=5).read() == b"pong"
        lines.append("%s %d" % (name, time.time_ns()))
threads = [threading.Thread(target=ask, args=(name,)) for name in ("a", "b", "c")]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("\\n".join(lines))`;
    const runs: string[] = [];
    for (let run = 0; run < 2; run++) {
      const world = await create('strict');
      const answer = await client.run({ world, name: 'one', command: ['python3', '-c', program] });
      expect(answer.stdout, answer.stderr).toMatch(/^([abc] 19\d+\n){9}$/);
      runs.push(answer.stdout);
      const { worlds } = await client.call('WORLD_LIST', {});
      expect(worlds.find(({ id }: { id: string }) => id === world)).toMatchObject({ id: world });
      await client.call('WORLD_DESTROY', { world_id: world, force: true });
    }
    expect(runs[1]).toBe(runs[0]);
  });

  it('wait for messages in the world’s time', async () => {
    const world = await create();
    const { stdout, stderr } = await client.run({
      world,
      name: 'waiter',
      ...callingAgent([
        ['RECV', { wait: true, timeout_ms: 3_600_000 }],
        ['RECV', { wait: true, timeout_ms: 3_600_000 }],
      ]),
      permissions: 'unrestricted',
    });
    const answers = (JSON.parse(stdout) as { answer: Answer }[]).map(({ answer }) => answer);
    expect(answers, stderr).toMatchObject([{ count: 0 }, { count: 0 }]);
    const { worlds } = await client.call('WORLD_LIST', {});
    expect(worlds.find(({ id }: { id: string }) => id === world).world_time).toMatch(/^2031-05-06T09:/);
    expect(await client.call('WORLD_DESTROY', { world_id: world, force: true })).toMatchObject({
      success: true,
    });
  });
});
