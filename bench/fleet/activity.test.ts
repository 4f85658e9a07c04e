import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { entriesPerTrial } from './activity.ts';
import { addressOf, messageType, textOf } from './activity-call.ts';
import { FirstAndLast, Rows } from './kept.ts';
import { runFleet } from './testing.ts';
import type { FleetScenario } from './types.ts';

const MIB = 2 ** 20;

/** Writes a file of its world, asks a service there, a stranger outside, and tells the oracle. */
const WORKER = `
import { connect } from 'clove/sdk';
const clove = await connect();
await clove.writeFile('/notes/a.txt', 'hello');
await clove.readFile('/notes/a.txt');
await clove.http('http://shop.lab/orders?token=hunter2');
await clove.http('http://nobody.lab/').catch(() => {});
await clove.call('KILL', { id: 1 }).catch(() => {});
for (let n = 0; n < 3; n++) await clove.send('oracle', { type: 'progress', n });
await clove.send('oracle', { ready: true });
await new Promise(() => setInterval(() => {}, 1000));
`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'clove-activity-'));
  writeFileSync(join(folder, 'worker.ts'), WORKER);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const scenario = (): FleetScenario => ({
  kind: 'fleet',
  name: 'busy',
  title: 'Busy',
  description: 'For tests.',
  version: '1',
  roles: {
    worker: {
      title: 'works',
      program: { script: join(folder, 'worker.ts') },
      limits: { memory: 128 * MIB },
      permissions: {
        can_http: true,
        network: ['*.lab'],
        can_read: true,
        can_write: true,
        filesystem: { read: ['/notes/**'], write: ['/notes/**'] },
      },
    },
  },
  budgets: { wallMs: 120_000, memoryBytes: 256 * MIB, agents: 1 },
  metrics: [{ path: 'figure', label: 'Figure', format: '.0f', higherIsBetter: true }],
  async oracle(fleet) {
    const { world_id } = await fleet.client.createWorld({
      name: 'lab',
      config: {
        clock: { mode: 'skip', start: '2026-01-05T08:00:00Z' },
        network: { mocks: { 'http://shop.lab/*': { status: 200, body: 'fine' } } },
        files: { limits: { bytes: 1_000_000 } },
      },
    });
    await fleet.client.joinWorld(world_id);
    await fleet.start();
    await fleet.message(
      ({ message }) => typeof message === 'object' && message !== null && 'ready' in message,
      { timeoutMs: 90_000, what: 'the worker' },
    );
    fleet.metric('figure', 1);
    await fleet.client.leaveWorld();
  },
});

describe('what a fleet does', () => {
  it('is recorded with world time, who, what, to whom and what came of it', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const { results, explain } = await runFleet(scenario());
    const activity = results.trials[0]?.attempts[0]?.result?.fleet?.activity;
    expect(activity, explain('clove')).toBeDefined();
    if (activity === undefined) return;
    expect(activity.worldStart).toBe('2026-01-05T08:00:00.000Z');
    expect(activity.worlds).toMatchObject([
      { clock: 'skip', llmTime: 'real', modelCalls: 0, modelChargedMs: 0 },
    ]);
    const own = activity.entries
      .filter(({ agent }) => agent === 'worker')
      .map(({ kind, what, target, outcome, status }) => [kind, what, target, outcome, status]);
    expect(own, explain('clove')).toEqual([
      ['file', 'write', '/notes/a.txt', 'OK', null],
      ['file', 'read', '/notes/a.txt', 'OK', null],
      ['network', 'GET', 'shop.lab/orders', 'OK', 200],
      ['network', 'GET', 'nobody.lab/', 'NETWORK_REFUSED', null],
      ['agent', 'kill', '1', 'FORBIDDEN', null],
      ['message', 'progress', 'oracle', 'OK', null],
      ['message', 'progress', 'oracle', 'OK', null],
      ['message', 'progress', 'oracle', 'OK', null],
      ['message', '{ready}', 'oracle', 'OK', null],
    ]);
    expect(activity.entries.every(({ agent, worldMs }) => agent !== 'worker' || worldMs !== null)).toBe(true);
    expect(JSON.stringify(activity)).not.toContain('hunter2');
    expect(activity.calls.find(({ call }) => call === 'KILL')).toEqual({
      agent: 'worker',
      call: 'KILL',
      count: 1,
      refused: 1,
      failed: 0,
    });
    expect(activity.refusals).toEqual([
      { agent: 'worker', call: 'KILL', rule: expect.stringMatching(/KILL/), object: '1', count: 1 },
    ]);
    expect(activity.messages.find(({ what }) => what === 'progress')).toMatchObject({
      to: 'oracle',
      count: 3,
    });
    expect(activity.files).toEqual([
      expect.objectContaining({ path: '/notes/a.txt', reads: 1, writes: 1, bytesWritten: 5, bytesRead: 5 }),
    ]);
    expect(activity.requests.map(({ host, count }) => [host, count])).toEqual([
      ['shop.lab', 1],
      ['nobody.lab', 1],
    ]);
    expect(activity.changed).toEqual([{ path: '/notes/a.txt', change: 'added', bytes: 5 }]);
    expect(activity.losses).toEqual([]);
  });
});

describe('lists with a limit', () => {
  it('keep the first and the last, in order, and name what is missing in between', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 40 }), fc.integer({ min: 0, max: 300 }), (limit, total) => {
        const kept = new FirstAndLast<number>(limit);
        for (let at = 0; at < total; at++) kept.add(at);
        const items = kept.items();
        const half = Math.floor(limit / 2);
        const all = Array.from({ length: total }, (_, at) => at);
        const expected = total <= half * 2 ? all : [...all.slice(0, half), ...all.slice(-half)];
        expect(items).toEqual(expected);
        expect(kept.seen).toBe(total);
        expect(kept.gap()).toEqual(total <= half * 2 ? null : [half - 1, total - half]);
      }),
    );
  });

  it('have rows up to their limit and count the others once each', () => {
    const rows = new Rows<{ count: number }>(2);
    for (const key of ['a', 'b', 'c', 'a', 'c', 'd']) {
      const row = rows.at(key, () => ({ count: 0 }));
      if (row !== null) row.count += 1;
    }
    expect(rows.rows()).toEqual([{ count: 2 }, { count: 1 }]);
    expect(rows.lost).toBe(2);
  });

  it('are the smaller the more trials a run has', () => {
    expect(entriesPerTrial(1)).toBe(4000);
    expect(entriesPerTrial(2000)).toBe(100);
    expect(entriesPerTrial(100)).toBe(2000);
  });
});

describe('a call in words', () => {
  it.each([
    [{ type: 'alert', x: 1 }, 'alert'],
    [{ ready: 'a' }, '{ready}'],
    [{ answer: 3, ok: true }, 'answer'],
    [[1, 2], 'list'],
    ['text', 'string'],
    [null, 'object'],
  ])('calls a message %j %s', (message, type) => {
    expect(messageType(message)).toBe(type);
  });

  it('keeps no query, no user, no arguments', () => {
    expect(addressOf('https://u:p@api.lab:8443/a/b?key=1#x')).toBe('api.lab:8443/a/b');
    expect(addressOf('ws://a.lab/s?t=1')).toBe('ws://a.lab/s');
    expect(textOf('EXEC', { command: 'curl -H secret' }, 0)?.target).toBe('curl');
    expect(textOf('RECV', {}, 0)).toBeNull();
  });
});
