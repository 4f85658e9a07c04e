import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Turns } from './turns.ts';

interface Item {
  readonly lane: number;
  readonly n: number;
}

function turns(onServe: (item: Item) => void = () => {}): { served: Item[]; queue: Turns<Item> } {
  const served: Item[] = [];
  const queue = new Turns<Item>({
    serve: (item) => {
      served.push(item);
      onServe(item);
    },
  });
  return { served, queue };
}

/** A lane whose work was held up by the machine may be paused: an idle queue need not be done. */
async function untilServed(queue: Turns<Item>, served: readonly Item[], count: number): Promise<void> {
  queue.run();
  await expect.poll(() => served.length, { timeout: 60_000 }).toBe(count);
}

/** Keeps the processor busy: what a request costs is what turns are about. */
function spend(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

describe('Turns', () => {
  it('serves everything once, in the order of its lane', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat({ max: 4 }), fc.nat({ max: 200 })), { maxLength: 12 }),
        async (bursts) => {
          const { served, queue } = turns();
          const expected = new Map<number, number>();
          for (const [lane, count] of bursts) {
            for (let n = 0; n < count; n += 1) {
              const next = expected.get(lane) ?? 0;
              queue.add(lane, lane === 0, { lane, n: next });
              expected.set(lane, next + 1);
            }
            if (count % 2 === 0) queue.run();
          }
          await untilServed(
            queue,
            served,
            [...expected.values()].reduce((sum, count) => sum + count, 0),
          );
          for (const [lane, count] of expected) {
            const order = served.filter((item) => item.lane === lane).map(({ n }) => n);
            expect(order).toEqual(Array.from({ length: count }, (_, n) => n));
          }
        },
      ),
      { numRuns: 50 },
    );
  });

  it('lets nobody wait for the flood of another', () => {
    const { served, queue } = turns();
    for (let n = 0; n < 10_000; n += 1) queue.add(1, false, { lane: 1, n });
    queue.add(2, false, { lane: 2, n: 0 });
    queue.add(3, true, { lane: 3, n: 0 });
    queue.run();
    expect(served[0]).toEqual({ lane: 3, n: 0 });
    expect(served.findIndex(({ lane }) => lane === 2)).toBeLessThanOrEqual(33);
  });

  it('gives the event loop its turn, and what comes then is not last', async () => {
    const { served, queue } = turns(() => spend(0.2));
    for (let n = 0; n < 200; n += 1) queue.add(1, false, { lane: 1, n });
    queue.run();
    const before = served.length;
    expect(before).toBeLessThan(100);
    queue.add(2, true, { lane: 2, n: 0 });
    await untilServed(queue, served, 201);
    expect(served.findIndex(({ lane }) => lane === 2)).toBe(before);
  });

  it('shares time, not numbers: a lane of slow requests does not slow the others down', async () => {
    const { served, queue } = turns(({ lane }) => {
      if (lane === 1) spend(1);
    });
    for (let n = 0; n < 20; n += 1) queue.add(1, false, { lane: 1, n });
    for (let n = 0; n < 20; n += 1) queue.add(2, false, { lane: 2, n });
    await untilServed(queue, served, 40);
    const lastOfFast = served.findLastIndex(({ lane }) => lane === 2);
    expect(served.slice(0, lastOfFast).filter(({ lane }) => lane === 1).length).toBeLessThan(20);
  });

  it('lets a lane wait that has to, in its order, and nobody with it', async () => {
    let isPaused = true;
    const served: Item[] = [];
    const queue = new Turns<Item>({
      serve: (item) => served.push(item),
      pauseMs: (lane) => (lane === 1 && isPaused ? 1 : 0),
    });
    for (let n = 0; n < 100; n += 1) queue.add(1, false, { lane: 1, n });
    queue.add(2, false, { lane: 2, n: 0 });
    queue.run();
    await expect.poll(() => served).toEqual([{ lane: 2, n: 0 }]);
    expect(queue.isIdle).toBe(true);
    expect(queue.serveNow(1, false, { lane: 1, n: 100 })).toBe(false);
    expect(queue.serveNow(2, false, { lane: 2, n: 1 })).toBe(true);
    queue.add(1, false, { lane: 1, n: 100 });
    queue.run();
    expect(served.length).toBe(2);
    isPaused = false;
    await expect.poll(() => served.length, { timeout: 10_000 }).toBe(103);
    expect(served.slice(2).map(({ n }) => n)).toEqual(Array.from({ length: 101 }, (_, n) => n));
  });

  it('takes what comes while its lane has its turn, once and in order', async () => {
    const { served, queue } = turns(({ n }) => {
      if (n < 50) queue.add(1, false, { lane: 1, n: n + 1 });
    });
    queue.add(1, false, { lane: 1, n: 0 });
    await untilServed(queue, served, 51);
    expect(served.map(({ n }) => n)).toEqual(Array.from({ length: 51 }, (_, n) => n));
    expect(queue.isIdle).toBe(true);
  });

  it('names nobody whose turn is over, however many still wait', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const served: WeakRef<Item>[] = [];
    const queue = new Turns<Item>({
      serve: (item) => served.push(new WeakRef(item)),
      pauseMs: () => (served.length < 10 ? 0 : 1_000_000),
    });
    for (let n = 0; n < 100; n += 1) queue.add(1, false, { lane: 1, n });
    queue.run();
    expect(served).toHaveLength(10);
    // What a WeakRef was made of in this turn of the event loop lives to its end.
    await new Promise<void>((resolve) => setImmediate(resolve));
    collect();
    expect(served.filter((item) => item.deref() !== undefined)).toEqual([]);
  });
});
