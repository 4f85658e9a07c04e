import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Sized, WaitingQueue } from './waiting-queue.ts';

interface Item extends Sized {
  readonly id: number;
}

const item = (id: number, bytes = 1): Item => ({ id, bytes });
const now = { max: 10, waitMs: 0 } as const;

describe('WaitingQueue', () => {
  it('gives items out in the order they came, at most as many as asked for', async () => {
    const queue = new WaitingQueue<Item>({ items: 10, bytes: 100 });
    for (const id of [1, 2, 3]) queue.push(item(id));
    expect((await queue.take({ max: 2, waitMs: 0 })).map((each) => each.id)).toEqual([1, 2]);
    expect((await queue.take({ max: 0, waitMs: null })).map((each) => each.id)).toEqual([]);
    expect((await queue.take(now)).map((each) => each.id)).toEqual([3]);
    expect(await queue.take(now)).toEqual([]);
  });

  it('refuses what exceeds its number or its bytes', () => {
    const queue = new WaitingQueue<Item>({ items: 2, bytes: 10 });
    expect(queue.push(item(1, 9))).toBe(true);
    expect(queue.push(item(2, 2))).toBe(false);
    expect(queue.push(item(3, 1))).toBe(true);
    expect(queue.push(item(4, 0))).toBe(false);
    expect(queue.bytes).toBe(10);
  });

  it('wakes those who wait in their order', async () => {
    const queue = new WaitingQueue<Item>({ items: 10, bytes: 100 });
    const first = queue.take({ max: 10, waitMs: null });
    const second = queue.take({ max: 10, waitMs: null });
    queue.push(item(1));
    queue.push(item(2));
    expect((await first).map((each) => each.id)).toEqual([1]);
    expect((await second).map((each) => each.id)).toEqual([2]);
  });

  it('ends a wait with nothing when its time is over', async () => {
    const queue = new WaitingQueue<Item>({ items: 10, bytes: 100 });
    expect(await queue.take({ max: 1, waitMs: 5 })).toEqual([]);
    expect(queue.waiting).toBe(0);
  });

  it('takes nothing for a wait that was aborted', async () => {
    const queue = new WaitingQueue<Item>({ items: 10, bytes: 100 });
    const abort = new AbortController();
    const wait = queue.take({ max: 1, waitMs: null, signal: abort.signal });
    abort.abort();
    queue.push(item(1));
    await expect(wait).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(queue.length).toBe(1);
    await expect(queue.take({ ...now, signal: abort.signal })).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('rejects those who wait when it is closed, and lets go of what it holds', async () => {
    const left: number[] = [];
    const queue = new WaitingQueue<Item>({ items: 10, bytes: 100 }, (each) => left.push(each.id));
    const wait = queue.take({ max: 1, waitMs: null });
    queue.close();
    await expect(wait).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(queue.push(item(1))).toBe(false);

    const full = new WaitingQueue<Item>({ items: 10, bytes: 100 }, (each) => left.push(each.id));
    full.push(item(7));
    full.close();
    expect(left).toEqual([7]);
  });

  it('bounds what one take hands out by its bytes, but gives one item however large', async () => {
    const queue = new WaitingQueue<Item>({ items: 10, bytes: 100 * 2 ** 20 });
    for (const id of [1, 2, 3]) queue.push(item(id, 3 * 2 ** 20));
    queue.push(item(4, 20 * 2 ** 20));
    for (const expected of [[1], [2], [3], [4]]) {
      expect((await queue.take(now)).map((each) => each.id)).toEqual(expected);
    }
  });

  it('behaves as a plain list with bounds, under any sequence of pushes and takes', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('push' as const), bytes: fc.nat(40) }),
      fc.record({ kind: fc.constant('drop' as const), bytes: fc.nat(120) }),
      fc.record({ kind: fc.constant('take' as const), max: fc.integer({ min: -1, max: 7 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 900, size: 'max' }), async (steps) => {
        const limits = { items: 8, bytes: 100 };
        const left: number[] = [];
        const queue = new WaitingQueue<Item>(limits, (each) => left.push(each.id));
        let model: Item[] = [];
        const gone: number[] = [];
        const bytes = (): number => model.reduce((sum, each) => sum + each.bytes, 0);
        const fits = (next: Item): boolean =>
          model.length < limits.items && bytes() + next.bytes <= limits.bytes;
        for (const [id, each] of steps.entries()) {
          if (each.kind === 'push') {
            const next = item(id, each.bytes);
            const expected = fits(next);
            if (expected) model.push(next);
            expect(queue.push(next)).toBe(expected);
          } else if (each.kind === 'drop') {
            const next = item(id, each.bytes);
            let dropped = 0;
            if (next.bytes > limits.bytes) dropped = 1;
            else {
              for (; !fits(next); dropped += 1) gone.push((model.shift() as Item).id);
              model.push(next);
            }
            expect(queue.pushDroppingOldest(next)).toBe(dropped);
          } else {
            const expected = model.slice(0, Math.max(0, each.max));
            model = model.slice(expected.length);
            gone.push(...expected.map((taken) => taken.id));
            expect(await queue.take({ max: each.max, waitMs: 0 })).toEqual(expected);
          }
          expect(queue.length).toBe(model.length);
          expect(queue.bytes).toBe(bytes());
        }
        expect(left).toEqual(gone);
      }),
      { numRuns: 100 },
    );
  });
});
