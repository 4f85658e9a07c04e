import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { auditAddonPath, openNativeAudit } from '../../native/audit.ts';
import type { Caller } from '../identity.ts';
import { type Draft, type RecordBatch, RecordQueue } from '../store/record-queue.ts';
import { fetch, store } from '../syscalls/state.ts';
import { CallBytes } from './call-bytes.ts';
import { canonicalJson } from './canonical.ts';
import { type AuditedCall, CallRecord } from './records.ts';
import { boundText, summarise } from './summary.ts';
import { SummaryWriter } from './summary-bytes.ts';

const native = openNativeAudit(auditAddonPath());
const CAPACITY = { records: 1e6, bytes: 1e9 };

it('hashes are those of SHA-256, with and without the instructions of the processor', () => {
  const check = (bytes: Uint8Array) => {
    const expected = createHash('sha256').update(bytes).digest('hex');
    expect([native.sha256(bytes, false), native.sha256(bytes, true)]).toEqual([expected, expected]);
  };
  // All ways in which the end can fall into a block, and what stands anywhere in memory.
  for (let length = 0; length < 200; length += 1) check(new Uint8Array(length).fill(length));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), fc.nat(16), (bytes, skipped) =>
      check(bytes.subarray(Math.min(skipped, bytes.length))),
    ),
    { numRuns: 300 },
  );
});

const TRICKY = [
  'password=hunter2',
  'Bearer abcdefghijkl',
  'AKIAABCDEFGHIJKLMNOP',
  'sk-abcdefghijklmnop',
  'https://user:secret@host/',
  'a\u202eb',
  '\ud800',
  '"\\\n',
  'x'.repeat(256),
  'x'.repeat(257),
  'é'.repeat(300),
  'number of bears, akin to beads',
  '',
];
const text = fc.oneof(
  fc.constantFrom(...TRICKY),
  fc.string({ unit: 'grapheme-ascii' }),
  fc.string({ unit: 'binary' }),
);
const name = fc.constantFrom(
  'key',
  'value',
  'to',
  'env',
  'token',
  'args',
  'scope',
  'x'.repeat(70),
  'ключ',
  '2',
  '__proto__',
);
const leaf = fc.oneof(
  text,
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constantFrom(null, undefined, -0, 0, 2 ** 31),
);
const request = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.dictionary(fc.oneof(name, fc.string()), fc.oneof(leaf, fc.array(leaf), fc.object()), {
      noNullPrototype: true,
    }),
  },
  leaf,
  fc.array(leaf),
);
const callers: Caller[] = [
  { id: 7, kind: 'agent', connection: 1, peer: { pid: 10, uid: 20, gid: 30 } },
  { id: 2 ** 31, kind: 'operator', connection: 2, peer: { pid: 11, uid: 0, gid: 0 } },
];
const call = fc.record({
  caller: fc.constantFrom(...callers),
  name: text,
  definition: fc.constantFrom(fetch, store, null),
  input: request,
  object: text.filter((each) => each !== ''),
  ruleId: text,
  allowed: fc.boolean(),
  worldTime: fc.option(text),
  outcome: fc.constantFrom(
    'OK' as const,
    'BEGUN' as const,
    'NOT_FOUND' as const,
    'SANDBOX_UNAVAILABLE' as const,
  ),
});
type Call = Parameters<
  Parameters<typeof fc.property<[typeof call extends fc.Arbitrary<infer T> ? T : never]>>[1]
>[0];

/** What of a record does not depend on the clock. */
function expectedOf({
  caller,
  name: ofCaller,
  definition,
  input,
  object,
  ruleId,
  allowed,
  worldTime,
  outcome,
}: Call) {
  const { id, kind, peer } = caller;
  return {
    boot: 'b00t',
    decision: allowed ? 'allow' : 'deny',
    details: JSON.parse(definition === null ? '{}' : summarise(input)),
    event_type: allowed ? 'SYSCALL' : 'PERMISSION_DENIED',
    object: boundText(object, 1024),
    opcode: definition?.opcode ?? 0xee,
    outcome,
    policy: 'digest',
    rule: boundText(ruleId, 1024),
    subject: { id, kind, name: ofCaller, pid: peer.pid, uid: peer.uid },
    success: outcome === 'OK' || outcome === 'BEGUN',
    syscall: definition?.name ?? null,
    world_time: worldTime,
  };
}

function audited({ caller, name: ofCaller, definition, input, object, ruleId, allowed }: Call): AuditedCall {
  return {
    category: 'STATE_STORE',
    subject: { caller, name: ofCaller },
    definition,
    opcode: definition?.opcode ?? 0xee,
    decision: { allowed, ruleId, policyDigest: 'digest', object },
    input,
  };
}

function bodiesOf({ chunks }: RecordBatch): string[] {
  const shared = chunks.map((chunk) => new Uint8Array(chunk.shared.buffer, 0, chunk.shared.usedBytes));
  const runs = native.runs(shared, Number.MAX_SAFE_INTEGER, 1, 1);
  if (runs === null) throw new Error('these are no records');
  return runs.map(({ places: [chunk = -1, offset = -1], bytes }) => {
    const body = native.body(shared[chunk] as Uint8Array, offset) ?? '';
    expect(body.length).toBeLessThanOrEqual(bytes);
    return body;
  });
}

const noGap = (): Draft => {
  throw new Error('there is no gap');
};

describe('records of calls', () => {
  it('are stored as what was asked for and decided, in canonical form, whatever that is', () => {
    // One of each for all: what they remember of one request must not show in another.
    const desk = { bytes: new CallBytes(64), summaries: new SummaryWriter() };
    const queue = new RecordQueue(CAPACITY);
    fc.assert(
      fc.property(fc.array(call, { minLength: 1, maxLength: 6 }), fc.nat(), (calls, salt) => {
        let onDesk: CallRecord | null = null;
        const begun = calls.map((each) => {
          onDesk?.keep();
          const scene = { boot: 'b00t', worldTime: each.worldTime };
          onDesk = new CallRecord(scene, audited(each), desk);
          return { each, record: onDesk };
        });
        // They end in any order.
        const ended = begun.toSorted((a, b) => hashOf(a.each, salt) - hashOf(b.each, salt));
        for (const { each, record } of ended) {
          record.outcome = each.outcome;
          queue.push(record, 0, false);
        }
        const batch = queue.take(noGap);
        const bodies = bodiesOf(batch);
        expect(bodies).toEqual(ended.map(({ record }) => record.body()));
        for (const [at, body] of bodies.entries()) {
          const { monotonic_us, time, ...rest } = JSON.parse(body);
          expect(rest).toEqual(expectedOf((ended[at] as (typeof ended)[number]).each));
          expect(canonicalJson(JSON.parse(body))).toBe(body);
          expect(Math.abs(monotonic_us / 1000 - performance.now())).toBeLessThan(600_000);
          expect(new Date(time).toISOString()).toBe(time);
        }
        queue.release(batch);
      }),
      { numRuns: 300 },
    );
  });

  it('name the first thing that a request names, if the decision names none', () => {
    const desk = { bytes: new CallBytes(), summaries: new SummaryWriter() };
    const objectOf = (input: unknown) => {
      const decision = { allowed: true, ruleId: 'r', policyDigest: 'd', object: '' };
      const subject = { caller: callers[0] as Caller, name: '' };
      const asked = { category: 'IPC', subject, definition: store, opcode: 1, decision, input } as const;
      return JSON.parse(new CallRecord({ boot: 'b', worldTime: null }, asked, desk).body()).object;
    };
    expect(objectOf({ key: 'k', name: 'n' })).toBe('k');
    expect(objectOf({ key: '', name: 'n' })).toBe('n');
    expect(objectOf({ id: 0, agent_id: 9 })).toBe('9');
    expect(objectOf({ value: 'v' })).toBe('');
    expect(objectOf({ command: ['ls', '-l'] })).toBe('ls');
    expect(objectOf(['key'])).toBe('');
    expect(objectOf(null)).toBe('');
  });

  it('have the time of day that the clock showed, in any year that it may show', () => {
    const queue = new RecordQueue(CAPACITY);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 253_402_300_799_999 }), (wallMs) => {
        const bytes = new CallBytes();
        bytes.begin(2 ** 40 + 1, wallMs);
        bytes.endDetails(bytes.end);
        bytes.endObject(bytes.end);
        bytes.putWorld(null);
        const form = new CallRecord(
          { boot: 'b', worldTime: null },
          audited({ ...(fc.sample(call, { numRuns: 1, seed: 1 })[0] as Call), allowed: true, name: '' }),
          { bytes: new CallBytes(), summaries: new SummaryWriter() },
        ).content().form;
        const draft: Draft = {
          chain: 1,
          agentId: 1,
          content: () => ({ form, words: bytes.words, usedBytes: bytes.putOutcome('OK') }),
          attached: () => {},
          committed: () => {},
          undone: () => {},
          delayed: () => {},
        };
        queue.push(draft, 0, false);
        const batch = queue.take(noGap);
        const [body = ''] = bodiesOf(batch);
        expect(body).toContain(`"time":"${new Date(wallMs).toISOString()}"`);
        expect(body).toContain(`"monotonic_us":${2 ** 40 + 1},`);
        queue.release(batch);
      }),
      { numRuns: 200 },
    );
  });
});

function hashOf(value: unknown, salt: number): number {
  const digest = createHash('sha256')
    .update(`${salt}${JSON.stringify(value)}`)
    .digest();
  return digest.readUInt32LE();
}
