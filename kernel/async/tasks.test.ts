import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AsyncLimits, type AsyncOutcome, AsyncTasks } from './tasks.ts';

const LIMITS: AsyncLimits = { running: 2, perCaller: 4, perCallerBytes: 100, totalBytes: 150 };
const CALL = { opcode: 2, name: 'EXEC' };
const ANN = 7;
const BOB = 8;
const never = new AbortController().signal;

const outcome = (text: string): AsyncOutcome => ({ text, success: true, error: null });
const poll = (requestId: number | null = null, max = 10, waitMs: number | null = 0) => ({
  max,
  requestId,
  waitMs,
  signal: never,
});

/** Work that ends when told to. */
class Work {
  readonly end = Promise.withResolvers<AsyncOutcome>();
  signal: AbortSignal | null = null;
  readonly run = (signal: AbortSignal) => {
    this.signal = signal;
    return this.end.promise;
  };
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
}

describe('asynchronous calls', () => {
  it('run in turns and are polled in the order of their ends, once', async () => {
    const tasks = new AsyncTasks(LIMITS);
    const works = [new Work(), new Work(), new Work()] as const;
    for (const [index, work] of works.entries())
      expect(tasks.submit(ANN, CALL, index + 1, work.run)).toBe(index + 1);
    expect(works.map(({ signal }) => signal !== null)).toEqual([true, true, false]);
    works[1].end.resolve(outcome('"b"'));
    await settle();
    expect(works[2].signal).not.toBeNull();
    works[0].end.resolve(outcome('"a"'));
    await settle();
    const polled = await tasks.poll(ANN, poll());
    expect(polled.map(({ requestId, text }) => [requestId, text])).toEqual([
      [2, '"b"'],
      [1, '"a"'],
    ]);
    expect(polled[0]).toMatchObject({ opcode: 2, name: 'EXEC', success: true, error: null });
    expect(await tasks.poll(ANN, poll())).toEqual([]);
    expect(tasks.countOf(ANN)).toBe(1);
    works[2].end.resolve(outcome('"c"'));
    await settle();
    expect(await tasks.poll(ANN, poll(null, 0))).toEqual([]);
    expect(await tasks.poll(ANN, poll(3))).toHaveLength(1);
    expect(tasks.totalBytes).toBe(0);
  });

  it('of others are as if they were not there', async () => {
    const tasks = new AsyncTasks(LIMITS);
    const id = tasks.submit(ANN, CALL, 0, async () => outcome('1'));
    await settle();
    expect(await tasks.poll(BOB, poll())).toEqual([]);
    await expect(tasks.poll(BOB, poll(id))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(tasks.submit(BOB, CALL, id, async () => outcome('2'))).toBe(id);
    tasks.release(BOB);
    expect(await tasks.poll(ANN, poll(id))).toHaveLength(1);
  });

  it('have ids that never meet: one in use is refused, until it was polled', async () => {
    const tasks = new AsyncTasks(LIMITS);
    const work = new Work();
    tasks.submit(ANN, CALL, 5, work.run);
    const again = () => tasks.submit(ANN, CALL, 5, async () => outcome('2'));
    expect(again).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
    work.end.resolve(outcome('1'));
    await settle();
    expect(again).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
    await tasks.poll(ANN, poll(5));
    expect(again()).toBe(5);
    const auto = new Set<number>();
    for (let index = 0; index < 3; index += 1) auto.add(tasks.submit(ANN, CALL, 0, new Work().run));
    expect(auto.size).toBe(3);
    for (const id of auto) expect(id).toBeGreaterThanOrEqual(2 ** 30);
  });

  it('are bounded in number and in what their answers take up', async () => {
    const tasks = new AsyncTasks(LIMITS);
    for (let index = 0; index < 4; index += 1)
      tasks.submit(ANN, CALL, 0, async () => outcome('x'.repeat(10)));
    expect(() => tasks.submit(ANN, CALL, 0, async () => outcome('1'))).toThrow(
      expect.objectContaining({ code: 'OVERLOAD' }),
    );
    await settle();
    await settle();
    expect(await tasks.poll(ANN, poll(null, 4))).toHaveLength(4);
    tasks.submit(ANN, CALL, 0, async () => outcome('x'.repeat(100)));
    await settle();
    expect(() => tasks.submit(ANN, CALL, 0, async () => outcome('1'))).toThrow(
      expect.objectContaining({ code: 'OVERLOAD' }),
    );
    // Bob's own room is free, but not all of it is there.
    tasks.submit(BOB, CALL, 1, async () => outcome('y'.repeat(60)));
    await settle();
    const [dropped] = await tasks.poll(BOB, poll(1));
    expect(dropped).toMatchObject({ success: false, error: expect.stringContaining('no room') });
    expect(JSON.parse(dropped?.text ?? '')).toMatchObject({ success: false, code: 'OVERLOAD' });
    tasks.release(ANN);
    expect(tasks.totalBytes).toBe(0);
  });

  it('can be waited for, all or one, by several pollers', async () => {
    const tasks = new AsyncTasks(LIMITS);
    const [first, second] = [new Work(), new Work()];
    tasks.submit(ANN, CALL, 1, first.run);
    tasks.submit(ANN, CALL, 2, second.run);
    const one = tasks.poll(ANN, poll(2, 10, null));
    const any = tasks.poll(ANN, poll(null, 1, null));
    first.end.resolve(outcome('1'));
    expect((await any).map(({ requestId }) => requestId)).toEqual([1]);
    second.end.resolve(outcome('2'));
    expect((await one).map(({ requestId }) => requestId)).toEqual([2]);
    expect(await tasks.poll(ANN, poll(null, 1, 1))).toEqual([]);
  });

  it('end with their caller, and so does all waiting', async () => {
    const tasks = new AsyncTasks(LIMITS);
    const work = new Work();
    tasks.submit(ANN, CALL, 1, work.run);
    const waiting = tasks.poll(ANN, poll(null, 1, null));
    tasks.release(ANN);
    expect(work.signal?.aborted).toBe(true);
    await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' });
    work.end.resolve(outcome('late'));
    await settle();
    expect(tasks.totalBytes).toBe(0);
    // Whoever has the id next finds nothing of it.
    expect(await tasks.poll(ANN, poll())).toEqual([]);
    const gone = new AbortController();
    const cut = tasks.poll(ANN, { max: 1, requestId: null, waitMs: null, signal: gone.signal });
    gone.abort();
    await expect(cut).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('whatever is done in whatever order, every accepted call is polled exactly once or freed', async () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('submit'),
        caller: fc.integer({ min: 1, max: 3 }),
        id: fc.integer({ min: 0, max: 3 }),
        size: fc.integer({ min: 2, max: 60 }),
      }),
      fc.record({
        kind: fc.constant('poll'),
        caller: fc.integer({ min: 1, max: 3 }),
        max: fc.integer({ min: 0, max: 3 }),
      }),
      fc.record({ kind: fc.constant('release'), caller: fc.integer({ min: 1, max: 3 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const tasks = new AsyncTasks(LIMITS);
        const expected = new Map<number, Set<number>>([1, 2, 3].map((caller) => [caller, new Set()]));
        for (const each of steps) {
          const own = expected.get(each.caller) as Set<number>;
          if ('id' in each) {
            try {
              own.add(tasks.submit(each.caller, CALL, each.id, async () => outcome('x'.repeat(each.size))));
            } catch (error) {
              expect(['BAD_REQUEST', 'OVERLOAD']).toContain((error as { code: string }).code);
            }
          } else if ('max' in each) {
            for (const { requestId } of await tasks.poll(each.caller, poll(null, each.max))) {
              expect(own.delete(requestId)).toBe(true);
            }
          } else {
            tasks.release(each.caller);
            own.clear();
          }
          expect(tasks.countOf(each.caller)).toBe(own.size);
          expect(tasks.totalBytes).toBeLessThanOrEqual(LIMITS.totalBytes + 200);
        }
        for (const [caller, own] of expected) {
          for (let turn = 0; turn < 20; turn += 1) await settle();
          for (const { requestId } of await tasks.poll(caller, poll(null, 100))) own.delete(requestId);
          expect(own.size).toBe(0);
        }
        expect(tasks.totalBytes).toBe(0);
      }),
      { numRuns: 100 },
    );
  });
});
