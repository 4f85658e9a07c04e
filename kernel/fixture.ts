import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createKernel, type KernelExtensions, type RunningKernel } from './kernel.ts';
import type { UserKernelOptions } from './options.ts';
import { OPCODES, type SyscallName } from './protocol/opcodes.ts';
import type { Frame } from './wire/codec.ts';
import { RawClient } from './wire/testing.ts';

/** An answer as tests look at it: whatever came. */
// biome-ignore lint/suspicious/noExplicitAny: answers are asserted on, field by field
export type Answer = any;

/** An operator's connection for tests: raw frames, JSON in and out. */
export class TestClient {
  readonly raw: RawClient;

  constructor(raw: RawClient) {
    this.raw = raw;
  }

  async call(name: SyscallName, request: unknown = {}): Promise<Answer> {
    return JSON.parse(await this.callText(OPCODES[name], JSON.stringify(request)));
  }

  async callText(opcode: number, payload: string | Uint8Array): Promise<string> {
    const { payload: answer } = await this.raw.call({ opcode, payload });
    return Buffer.from(answer).toString('utf8');
  }

  send(name: SyscallName, request: unknown = {}): void {
    this.raw.send({ opcode: OPCODES[name], payload: JSON.stringify(request) });
  }

  async next(): Promise<Answer> {
    const frame: Frame = await this.raw.next();
    return JSON.parse(Buffer.from(frame.payload).toString('utf8'));
  }

  /** Spawns, expects success. */
  async spawn(request: Record<string, unknown>): Promise<Answer> {
    const answer = await this.call('SPAWN', request);
    if (answer.success !== true) throw new Error(`spawn failed: ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Spawns and waits for the end; the exit report with the whole output. */
  async run(request: Record<string, unknown>): Promise<Answer> {
    const { id } = await this.spawn(request);
    const exit = await this.call('WAIT', { id });
    const { stdout, stderr } = await this.call('LOGS', { id });
    return { ...exit, stdout, stderr };
  }

  async close(): Promise<void> {
    await this.raw.close();
  }
}

/** A kernel in folders of its own. */
export class TestKernel {
  readonly folder: string;
  readonly running: RunningKernel;
  readonly #clients: TestClient[] = [];

  private constructor(folder: string, running: RunningKernel) {
    this.folder = folder;
    this.running = running;
  }

  static async boot(options: UserKernelOptions = {}, extensions: KernelExtensions = {}): Promise<TestKernel> {
    const folder = mkdtempSync(path.join(tmpdir(), 'clove-kernel-'));
    try {
      const running = await createKernel(
        {
          socketPath: path.join(folder, 'clove.sock'),
          dataDirectory: path.join(folder, 'data'),
          runDirectory: path.join(folder, 'run'),
          logLevel: 'silent',
          checkAnswers: true,
          drainMs: 200,
          ...options,
        },
        extensions,
      );
      return new TestKernel(folder, running);
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  async connect(): Promise<TestClient> {
    const client = new TestClient(await RawClient.connect(this.running.socketPath));
    this.#clients.push(client);
    return client;
  }

  async close(): Promise<void> {
    for (const client of this.#clients) await client.close();
    await this.running.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Source of a Node agent that makes the calls given as argv[1] ([[opcode, payload], …]) in turn and prints the answers. */
export const CALLING_AGENT = `
const net = require('node:net');
const calls = JSON.parse(process.argv[1]);
const socket = net.connect(process.env.CLOVE_SOCKET);
let received = Buffer.alloc(0);
const answers = [];
const send = () => {
  if (calls.length === answers.length) { console.log(JSON.stringify(answers)); socket.end(); return; }
  const [opcode, payload, claimedId = 0] = calls[answers.length];
  const body = Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload));
  const frame = Buffer.alloc(17 + body.length);
  frame.writeUInt32LE(0x41474e54, 0); frame.writeUInt32LE(claimedId, 4); frame[8] = opcode; frame.writeUInt32LE(body.length, 9);
  body.copy(frame, 17);
  socket.write(frame);
};
socket.on('data', (chunk) => {
  received = Buffer.concat([received, chunk]);
  while (received.length >= 17 && received.length >= 17 + received.readUInt32LE(9)) {
    const length = received.readUInt32LE(9);
    const text = received.subarray(17, 17 + length).toString();
    const id = received.readUInt32LE(4);
    received = received.subarray(17 + length);
    let answer = text;
    try { answer = JSON.parse(text); } catch {}
    answers.push({ id, answer });
    send();
  }
});
send();
`;

/** A spawn request for an agent that makes these calls; its stdout is the JSON of [{ id, answer }, …]. */
export function callingAgent(
  calls: readonly (readonly [SyscallName, unknown, number?])[],
): Record<string, unknown> {
  const list = calls.map(([name, payload, claimedId]) => [OPCODES[name], payload, claimedId ?? 0]);
  return { command: ['node', '-e', CALLING_AGENT, JSON.stringify(list)] };
}

/** Waits until a condition holds; the test's own time limit is the limit. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}
