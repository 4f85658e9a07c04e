import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Answer, TestClient } from '../fixture.ts';

/** A folder that agents may read, gone after the tests. */
export class ScriptFolder {
  readonly path: string;

  constructor() {
    this.path = mkdtempSync(path.join(tmpdir(), 'clove-scripts-'));
    chmodSync(this.path, 0o755);
    mkdirSync(path.join(this.path, 'agents'));
    chmodSync(path.join(this.path, 'agents'), 0o755);
  }

  write(name: string, source: string): string {
    const file = path.join(this.path, 'agents', name);
    writeFileSync(file, source);
    chmodSync(file, 0o644);
    return file;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Uses what an agent has: state, messages, events, commands, files, the clock of the kernel and its seed. */
export const BUSY_AGENT = `
import { connect } from 'clove/sdk';
const client = await connect();
await client.register('busy-worker');
await client.subscribe(['CUSTOM']);
const before: number = (await client.fetch<number>('counter')) ?? 0;
await client.store('counter', before + 1);
await client.store('mine', { seed: process.env.CLOVE_SEED, at: Math.floor((await client.hello()).uptime) }, { scope: 'agent' });
const ran = await client.exec('date +%s%N; echo $$; head -c 8 /dev/urandom | od -An -tx1');
await client.send('parent', { ran: ran.stdout, code: ran.exit_code });
await client.emit('DONE', { before });
const { events } = await client.pollEvents({ wait: true });
await client.writeFile('/work/out.txt', ran.stdout);
const text = await client.readFile('/work/out.txt');
const work = Array.from({ length: 4 }, (_, n) => client.store('part/' + n, { n, text }));
const [message] = await client.receive({ wait: true });
await Promise.all(work);
console.log(JSON.stringify({ before, out: ran.stdout, text, events: events.length, said: message?.message, seed: process.env.CLOVE_SEED }));
await client.close();
`;

/** Records one run of a script and returns the finished file. `meanwhile` plays the operator while the agent runs. */
export async function recordScript(
  client: TestClient,
  request: Record<string, unknown>,
  meanwhile: (id: number) => Promise<unknown> = async () => {},
  settings: Record<string, unknown> = {},
): Promise<{ file: string; id: string; exit: Answer; agentId: number }> {
  const started = await client.call('RECORD_START', settings);
  if (started.success !== true) throw new Error(JSON.stringify(started));
  const { id: agentId } = await client.spawn(request);
  await meanwhile(agentId);
  const exit = await client.call('WAIT', { id: agentId });
  const { stdout, stderr } = await client.call('LOGS', { id: agentId });
  const stopped = await client.call('RECORD_STOP');
  if (stopped.success !== true) throw new Error(JSON.stringify(stopped));
  return { file: stopped.file, id: stopped.recording_id, exit: { ...exit, stdout, stderr }, agentId };
}
