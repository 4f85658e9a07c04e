import fc from 'fast-check';
import { expect, it } from 'vitest';
import { auditAddonPath, openNativeAudit } from '../../native/audit.ts';
import { type Draft, type RecordBatch, RecordQueue } from './record-queue.ts';

const native = openNativeAudit(auditAddonPath());
const CAPACITY = { records: 1e6, bytes: 1e9 };

function draftOf(chain: number, body: string): Draft {
  const nothing = () => {};
  return {
    chain,
    agentId: 2 ** 30 + chain,
    content: () => body,
    attached: nothing,
    committed: nothing,
    undone: nothing,
    delayed: nothing,
  };
}

const noGap = (): never => {
  throw new Error('there is no gap');
};

function bodiesOf({ chunks }: RecordBatch): string[] {
  const shared = chunks.map((chunk) => new Uint8Array(chunk.shared.buffer, 0, chunk.shared.usedBytes));
  const runs = native.runs(shared, Number.MAX_SAFE_INTEGER, 1, 1);
  if (runs === null) throw new Error('these are no records');
  return runs.map(({ chain, places: [chunk = -1, offset = -1, agentId], bytes }) => {
    const body = native.body(shared[chunk] as Uint8Array, offset);
    expect([agentId, bytes]).toEqual([2 ** 30 + chain, body?.length]);
    return `${chain}:${body}`;
  });
}

it('records come out as they went in, whatever their lengths', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(40), fc.string({ unit: 'grapheme-ascii', maxLength: 300 })), {
        maxLength: 50,
      }),
      fc.integer({ min: 0, max: 200_000 }),
      (records, longest) => {
        const queue = new RecordQueue(CAPACITY);
        const all = [...records, [1, 'x'.repeat(longest)] as const, ...records];
        for (const [chain, body] of all) queue.push(draftOf(chain, body), 0, false);
        expect(queue.length).toBe(all.length);
        const batch = queue.take(noGap);
        expect(bodiesOf(batch)).toEqual(all.map(([chain, body]) => `${chain}:${body}`));
        expect([batch.count, queue.isEmpty]).toEqual([all.length, true]);
        queue.release(batch);
      },
    ),
    { numRuns: 50 },
  );
});

it('what is put back again and again, with more each time, keeps its order and takes up no more room than it needs', () => {
  const queue = new RecordQueue(CAPACITY);
  const expected: string[] = [];
  for (let round = 0; round < 300; round += 1) {
    const taken = queue.take(noGap);
    // Of a write that failed with them, and what came meanwhile.
    queue.push(draftOf(2, `later ${round}`), 0, true);
    queue.putBack([taken, queue.batchOf([draftOf(1, `failed ${round}`)])]);
    expected.push(`1:failed ${round}`, `2:later ${round}`);
  }
  expect(queue.length).toBe(600);
  const batch = queue.take(noGap);
  expect(batch.chunks.length).toBe(1);
  expect(batch.watched.length).toBe(600);
  expect(bodiesOf(batch)).toEqual(expected);
});
