import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, TestKernel } from '../../kernel/fixture.ts';
import { AgentConnection } from '../../kernel/syscalls/agent-connection.ts';
import { SYSCALLS } from '../../kernel/syscalls/table.ts';
import { TestRelay } from '../../kernel/tunnel/testing.ts';
import { worldHost } from '../../worlds/index.ts';
import { agentRows } from './agent-rows.ts';
import { coreRows } from './core-rows.ts';
import { evidenceRows } from './evidence-rows.ts';
import { exchangeRows } from './exchange-rows.ts';
import { modelRows } from './model-rows.ts';
import { NEVER_REFUSED, refusalRows } from './refusal-rows.ts';
import type { Row, Scene } from './row.ts';
import { supervisionRows } from './supervision-rows.ts';
import { worldRows } from './world-rows.ts';

const MODEL = 'a kernel with a model';

/**
 * What existing clients send, in whichever of their generations, and what they read in the answers: raw frames over a real
 * socket, one row each. Rows of a family are sent in turn to one kernel.
 */
const FAMILIES: Readonly<Record<string, readonly Row[]>> = {
  'core, files, commands, HTTP': coreRows,
  'agents and metrics': agentRows,
  'messages, state, events, tasks': exchangeRows,
  'permissions, recording, audit, tunnel': evidenceRows,
  [MODEL]: modelRows,
  supervision: supervisionRows,
  worlds: worldRows,
  'one that may call nothing': refusalRows,
};

let server: Server;
let relay: TestRelay;

beforeAll(async () => {
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      response.setHeader('x-pot', 'tea');
      if (request.url === '/echo') {
        response.end(
          `${request.method} ${String(request.headers['x-a'])} ${Buffer.concat(chunks).toString()}`,
        );
      } else {
        response.statusCode = 418;
        response.end('short and stout');
      }
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  relay = await TestRelay.start({ machines: { m: 'right' } });
});
afterAll(async () => {
  server.close();
  server.closeAllConnections();
  await relay.close();
});

describe.each(Object.entries(FAMILIES))('%s', (family, rows) => {
  let kernel: TestKernel;
  let scene: Scene;

  beforeAll(async () => {
    kernel = await TestKernel.boot(family === MODEL ? { llm: { provider: 'mock' } } : {}, {
      worlds: worldHost(),
    });
    const operator = await kernel.connect();
    const agent = await AgentConnection.spawn(kernel, operator, 'an-agent', { permissions: 'standard' });
    // Only where it has something to say: others look at who is there.
    const stranger = rows.some(({ as }) => as === 'stranger')
      ? await AgentConnection.spawn(kernel, operator, 'a-stranger', {
          permissions: { syscalls: { allow: [] } },
        })
      : agent;
    const folder = path.join(kernel.folder, 'files');
    mkdirSync(folder);
    writeFileSync(path.join(folder, 'agent.py'), 'import time\nwhile True:\n    time.sleep(1)\n');
    scene = {
      operator,
      operatorId: (await operator.call('HELLO')).agent_id,
      agent,
      agentId: agent.id,
      stranger,
      strangerId: stranger.id,
      folder,
      serverUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
      relayUrl: relay.url,
      saved: new Map(),
    };
  });
  afterAll(() => kernel.close());

  it.each(rows.map((each) => [each.opcode.toString(16).padStart(2, '0'), each.what, each] as const))(
    '%s %s',
    async (_opcode, _what, { opcode, send, expect: wanted, as, save }) => {
      const request = typeof send === 'function' ? send(scene) : send;
      const client = as === undefined ? scene.operator : scene[as];
      const payload = typeof request === 'string' ? request : JSON.stringify(request);
      const frame = await client.raw.call({ opcode, payload, agentId: 4242 });
      // One answer, of the same opcode, to whoever is connected: whatever the request's header claims.
      const id = { agent: scene.agentId, stranger: scene.strangerId, operator: scene.operatorId }[
        as ?? 'operator'
      ];
      expect(frame).toMatchObject({ opcode, agentId: id });
      expect(client.raw.unread).toEqual([]);
      const text = Buffer.from(frame.payload).toString('utf8');
      outcomes.push({ opcode, isRefusal: isRefusal(text) });
      if (typeof wanted === 'string') {
        expect(text).toBe(wanted);
        return;
      }
      const answer = JSON.parse(text);
      expect(text, 'compact, keys in ascending order').toBe(JSON.stringify(sortKeys(answer)));
      if (save !== undefined) scene.saved.set(save, answer);
      if (typeof wanted === 'function') await wanted(answer, scene);
      else expect(answer).toMatchObject(wanted as object);
    },
  );
});

/** What the rows that ran were answered. */
const outcomes: { readonly opcode: number; readonly isRefusal: boolean }[] = [];

function isRefusal(answer: string): boolean {
  if (!answer.startsWith('{')) return false;
  const { success, error } = JSON.parse(answer) as Answer;
  return success === false || error !== undefined;
}

it('every syscall of the table has rows that are served and rows that are refused', (context) => {
  const rows = Object.values(FAMILIES).reduce((sum, each) => sum + each.length, 0);
  if (outcomes.length < rows) context.skip('some rows were left out of this run, or failed');
  const lacking = SYSCALLS.flatMap(({ name, opcode }) => {
    const own = outcomes.filter((each) => each.opcode === opcode);
    return [
      ...(own.some((each) => !each.isRefusal) ? [] : [`${name}: no row that is served`]),
      ...(own.some((each) => each.isRefusal) || NEVER_REFUSED[name] !== undefined
        ? []
        : [`${name}: no row that is refused`]),
    ];
  });
  expect(lacking).toEqual([]);
});

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([key, member]) => [key, sortKeys(member)]),
  );
}
