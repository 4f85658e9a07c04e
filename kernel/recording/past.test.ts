import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Caller } from '../identity.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { SYSCALL_BY_OPCODE } from '../syscalls/table.ts';
import { CHAIN_START, sealLine } from './format.ts';
import { type AgentPast, MAX_PAST_BYTES, pastsUntil, type RecordingMark } from './past.ts';
import { DEFAULT_SETTINGS, RecordingSession } from './session.ts';

const AGENT = 7;
const SECRET = 'hunter2-and-then-some';
const CALLER: Caller = { id: AGENT, kind: 'agent', connection: 1, peer: { pid: 0, uid: -1, gid: -1 } };
const STARTED = {
  type: 'process',
  seq: 0,
  agent: AGENT,
  incarnation: 0,
  name: 'one',
  parent: 0,
  from_start: true,
  at: '2026-01-01T00:00:00.000Z',
  request: null,
  argv: ['/bin/true'],
  cwd: '/work',
  env_names: [],
  seed: '1',
  script: null,
  redactions: 0,
};

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-past-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What becomes of an agent that was started and has only this under way. */
async function pastOf(opcode: number, payload: string): Promise<AgentPast | string | undefined> {
  const session = new RecordingSession(
    { folder, table: SYSCALL_BY_OPCODE, onFailure: () => {} },
    DEFAULT_SETTINGS,
    [SECRET],
  );
  const request = { connection: 1, sequence: 1, opcode, payload, refused: null };
  session.callBegan(request, CALLER, 0);
  const { underWay, tick } = session.mark();
  await session.writer.abandon();
  return await read({ underWay, tick });
}

async function read(mark: Omit<RecordingMark, 'file'>): Promise<AgentPast | string | undefined> {
  const file = path.join(folder, 'started.jsonl');
  const text = `${sealLine(CHAIN_START, JSON.stringify(STARTED)).line}\n`;
  writeFileSync(file, text);
  const pasts = await pastsUntil({ ...mark, file }, text.length, [{ agent: AGENT, incarnation: 0 }]);
  return pasts.get(AGENT);
}

it('has what is under way among the calls', async () => {
  expect(await pastOf(OPCODES.RECV, '{"wait":true}')).toMatchObject({
    seed: '1',
    calls: [{ opcode: OPCODES.RECV, request: '{"wait":true}', answer: null }],
  });
});

it.for([
  ['with an effect that no snapshot has', OPCODES.KILL, '{"id":3}', /made a KILL/],
  ['whose secrets were taken out', OPCODES.SEND, `{"to":1,"message":"${SECRET}"}`, /secrets were taken out/],
  ['whose answer comes later', OPCODES.EXEC, '{"command":"true","async":true}', /answers that come later/],
  ['of an opcode that nobody knows', 250, '{}', /nobody knows/],
] as const)('is none where a call is under way %s', async ([, opcode, payload, reason]) => {
  expect(await pastOf(opcode, payload)).toMatch(reason);
});

it('is none where what is under way is more than a snapshot takes', async () => {
  const call = {
    agent: AGENT,
    incarnation: 0,
    opcode: OPCODES.SEND,
    syscall: 'SEND',
    request: JSON.stringify({ message: 'x'.repeat(MAX_PAST_BYTES / 2) }),
    redactions: 0,
    ended: 1,
    at: STARTED.at,
    duration_us: 0,
  };
  const underWay = [1, 2].map((begun) => ({ ...call, begun }));
  expect(await read({ tick: 2, underWay })).toMatch(/more than a snapshot takes/);
});
