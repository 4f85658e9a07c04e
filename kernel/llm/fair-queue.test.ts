import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FairQueue, type FairQueueLimits } from './fair-queue.ts';

const LIMITS: FairQueueLimits = {
  running: 1,
  runningPerCaller: 1,
  waitingPerCaller: 100,
  waitingBytes: 10_000,
};
const never = new AbortController().signal;

/** A job that ends when it is told to. */
class Job {
  readonly started = Promise.withResolvers<void>();
  readonly ended = Promise.withResolvers<void>();
  readonly result: Promise<void>;
  isStarted = false;

  constructor(queue: FairQueue, caller: number, order: number[], signal = never, bytes = 1) {
    this.result = queue.run(caller, bytes, signal, async () => {
      order.push(caller);
      this.isStarted = true;
      this.started.resolve();
      await this.ended.promise;
    });
    this.result.catch(() => {});
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('a fair queue', () => {
  it('gives each of five contending callers one turn per round, whoever asked most and first', async () => {
    const queue = new FairQueue(LIMITS);
    const order: number[] = [];
    const jobs = [
      ...Array.from({ length: 40 }, () => new Job(queue, 1, order)),
      ...[2, 3, 4, 5].flatMap((caller) => Array.from({ length: 4 }, () => new Job(queue, caller, order))),
    ];
    for (const job of jobs) job.ended.resolve();
    await Promise.all(jobs.map(({ result }) => result));
    // The very first had nobody to share with; from then on rounds of five.
    const rounds = [0, 1, 2, 3].map((round) => order.slice(1 + round * 5, 6 + round * 5));
    for (const round of rounds) expect(round.toSorted()).toEqual([1, 2, 3, 4, 5]);
    expect(order.slice(21)).toEqual(Array(35).fill(1));
  });

  it('keeps places for others: one caller never runs more than its share', async () => {
    const queue = new FairQueue({ ...LIMITS, running: 4, runningPerCaller: 2 });
    const order: number[] = [];
    const greedy = Array.from({ length: 6 }, () => new Job(queue, 1, order));
    await settle();
    expect([queue.running, queue.waiting]).toEqual([2, 4]);
    const other = new Job(queue, 2, order);
    await other.started.promise;
    for (const job of [...greedy, other]) job.ended.resolve();
    await Promise.all([...greedy, other].map(({ result }) => result));
    expect([queue.running, queue.waiting]).toEqual([0, 0]);
  });

  it('refuses what goes beyond the bound of a caller or of memory, and keeps what waits', async () => {
    const queue = new FairQueue({ ...LIMITS, waitingPerCaller: 2, waitingBytes: 100 });
    const order: number[] = [];
    const jobs = [1, 1, 1].map((caller) => new Job(queue, caller, order));
    await expect(queue.run(1, 1, never, async () => {})).rejects.toMatchObject({ code: 'OVERLOAD' });
    await expect(queue.run(2, 99, never, async () => {})).rejects.toMatchObject({ code: 'OVERLOAD' });
    const fits = new Job(queue, 2, order, never, 98);
    for (const job of [...jobs, fits]) job.ended.resolve();
    await Promise.all([...jobs, fits].map(({ result }) => result));
    expect(order.toSorted()).toEqual([1, 1, 1, 2]);
  });

  it('forgets what is cancelled before its turn', async () => {
    const queue = new FairQueue(LIMITS);
    const order: number[] = [];
    const first = new Job(queue, 1, order);
    const gone = new AbortController();
    const cancelled = new Job(queue, 2, order, gone.signal);
    await settle();
    gone.abort();
    await expect(cancelled.result).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(queue.run(2, 1, gone.signal, async () => {})).rejects.toMatchObject({ code: 'CANCELLED' });
    expect([queue.waiting, queue.waitingOf(2)]).toEqual([0, 0]);
    first.ended.resolve();
    await first.result;
    expect(order).toEqual([1]);
  });

  it('goes on when work fails', async () => {
    const queue = new FairQueue(LIMITS);
    const failing = queue.run(1, 1, never, () => Promise.reject(new Error('no')));
    const next = queue.run(1, 1, never, async () => 'yes');
    await expect(failing).rejects.toThrow('no');
    await expect(next).resolves.toBe('yes');
    expect(queue.running).toBe(0);
  });

  it('whatever comes, goes and ends: nobody is lost, and the bounds hold', async () => {
    const step = fc.record({
      kind: fc.constantFrom('ask', 'ask', 'ask', 'end', 'cancel'),
      caller: fc.integer({ min: 1, max: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const queue = new FairQueue({ ...LIMITS, running: 3, runningPerCaller: 2, waitingPerCaller: 5 });
        const order: number[] = [];
        const jobs: { job: Job; abort: AbortController }[] = [];
        for (const { kind, caller } of steps) {
          if (kind === 'ask') {
            const abort = new AbortController();
            jobs.push({ job: new Job(queue, caller, order, abort.signal), abort });
          } else if (kind === 'end') {
            jobs.find(({ job }) => job.isStarted)?.job.ended.resolve();
          } else jobs.at(-1)?.abort.abort();
          await settle();
          expect(queue.running).toBeLessThanOrEqual(3);
          for (const id of [1, 2, 3, 4]) expect(queue.waitingOf(id)).toBeLessThanOrEqual(5);
        }
        for (const { job } of jobs) job.ended.resolve();
        await Promise.allSettled(jobs.map(({ job }) => job.result));
        expect([queue.running, queue.waiting]).toEqual([0, 0]);
        expect(jobs.filter(({ job }) => job.isStarted)).toHaveLength(order.length);
      }),
      { numRuns: 60 },
    );
  });
});
