import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestKernel } from '../../kernel/fixture.ts';
import { OPCODES, type SyscallName } from '../../kernel/protocol/opcodes.ts';
import { AgentConnection } from '../../kernel/syscalls/agent-connection.ts';
import { TestRelay } from '../../kernel/tunnel/testing.ts';
import { agentRows } from './agent-rows.ts';
import { coreRows } from './core-rows.ts';
import { evidenceRows } from './evidence-rows.ts';
import { exchangeRows } from './exchange-rows.ts';
import type { Row, Scene } from './row.ts';

/**
 * What existing clients send, in whichever of their generations, and what they read in the answers: raw frames over a real
 * socket, one row each. Rows of a family are sent in turn to one kernel.
 */
const FAMILIES: Readonly<Record<string, readonly Row[]>> = {
  'core, files, commands, HTTP': coreRows,
  'agents and metrics': agentRows,
  'messages, state, events, tasks': exchangeRows,
  'permissions, recording, audit, tunnel': evidenceRows,
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

describe.each(Object.entries(FAMILIES))('%s', (_family, rows) => {
  let kernel: TestKernel;
  let scene: Scene;

  beforeAll(async () => {
    kernel = await TestKernel.boot();
    const operator = await kernel.connect();
    const agent = await AgentConnection.spawn(kernel, operator, 'an-agent', { permissions: 'standard' });
    const folder = path.join(kernel.folder, 'files');
    mkdirSync(folder);
    writeFileSync(path.join(folder, 'agent.py'), 'import time\nwhile True:\n    time.sleep(1)\n');
    scene = {
      operator,
      operatorId: (await operator.call('HELLO')).agent_id,
      agent,
      agentId: agent.id,
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
      const client = as === 'agent' ? scene.agent : scene.operator;
      const payload = typeof request === 'string' ? request : JSON.stringify(request);
      const frame = await client.raw.call({ opcode, payload, agentId: 4242 });
      // One answer, of the same opcode, to whoever is connected: whatever the request's header claims.
      expect(frame).toMatchObject({ opcode, agentId: as === 'agent' ? scene.agentId : scene.operatorId });
      expect(client.raw.unread).toEqual([]);
      const text = Buffer.from(frame.payload).toString('utf8');
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

/** The map of the protocol without worlds, whose tests are in worlds/. Opcodes beyond it have tests of their own. */
const PROTOCOL: readonly SyscallName[] = [
  ...(['NOOP', 'THINK', 'EXEC', 'READ', 'WRITE', 'SPAWN', 'KILL', 'LIST', 'PAUSE', 'RESUME'] as const),
  ...(['SEND', 'RECV', 'BROADCAST', 'REGISTER', 'STORE', 'FETCH', 'DELETE', 'KEYS', 'GET_PERMS'] as const),
  ...(['SET_PERMS', 'HTTP', 'SUBSCRIBE', 'UNSUBSCRIBE', 'POLL_EVENTS', 'EMIT', 'RECORD_START'] as const),
  ...(['RECORD_STOP', 'RECORD_STATUS', 'REPLAY_START', 'REPLAY_STATUS', 'GET_AUDIT_LOG'] as const),
  ...(['SET_AUDIT_CONFIG', 'ASYNC_POLL', 'TUNNEL_CONNECT', 'TUNNEL_DISCONNECT', 'TUNNEL_STATUS'] as const),
  ...([
    'TUNNEL_LIST_REMOTES',
    'TUNNEL_CONFIG',
    'METRICS_SYSTEM',
    'METRICS_AGENT',
    'METRICS_ALL_AGENTS',
  ] as const),
  ...(['METRICS_CGROUP', 'LLM_REPORT', 'HELLO', 'EXIT', 'DOWNLOAD', 'SET_QUOTA'] as const),
];

it('every syscall of the protocol has its rows', () => {
  const sent = new Set(Object.values(FAMILIES).flatMap((rows) => rows.map(({ opcode }) => opcode)));
  expect(PROTOCOL.filter((name) => !sent.has(OPCODES[name]))).toEqual([]);
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
