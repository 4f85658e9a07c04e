import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestClient, TestKernel } from '../fixture.ts';
import { replayRecording } from './replay-run.ts';
import { BUSY_AGENT, recordScript, ScriptFolder } from './testing.ts';

let kernel: TestKernel;
let client: TestClient;
let scripts: ScriptFolder;

beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
  scripts = new ScriptFolder();
});
afterAll(async () => {
  await kernel.close();
  scripts.remove();
});

describe('a replay', () => {
  it('is the same, however often it runs', async () => {
    const script = scripts.write('busy.ts', BUSY_AGENT);
    const { file, exit } = await recordScript(client, { script, name: 'busy' }, async (id) => {
      await client.call('RECV', { wait: true });
      await client.call('SEND', { to: id, message: { go: true } });
    });
    expect(exit.stderr).toBe('');
    expect(exit.exit_code).toBe(0);
    for (let n = 0; n < 3; n += 1) {
      const report = await replayRecording({ file });
      expect(report.divergence).toBeNull();
      expect(report.verdict).toBe('identical');
      expect(report.outputHash).toBe(report.recordedHash);
    }
  });
});
