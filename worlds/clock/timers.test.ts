import fc from 'fast-check';
import { expect, it } from 'vitest';
import { TimerQueue } from './timers.ts';

const timer = fc.record({
  at: fc.nat(5),
  owner: fc.constantFrom(undefined, 'ann', 'bob', 'cyd'),
  /** Another that it cancels when it fires, and whether it is cancelled before. */
  cancels: fc.option(fc.nat(30), { nil: null }),
  isCancelled: fc.boolean(),
});

it('meets equal deadlines by owner, however chance set them, and none that was cancelled', () => {
  fc.assert(
    fc.property(
      fc.array(timer, { maxLength: 30 }).chain((timers) =>
        fc.record({
          timers: fc.constant(timers),
          order: fc.shuffledSubarray([...timers.keys()], { minLength: timers.length }),
        }),
      ),
      ({ timers, order }) => {
        const queue = new TimerQueue(0);
        const fired: number[] = [];
        const handles = new Map<number, { cancel(): void }>();
        for (const index of order) {
          const { at, owner, cancels } = timers[index] as (typeof timers)[number];
          const fire = () => {
            fired.push(index);
            if (cancels !== null) handles.get(cancels)?.cancel();
          };
          handles.set(index, queue.set(at, fire, owner));
        }
        for (const [index, { isCancelled }] of timers.entries())
          if (isCancelled) handles.get(index)?.cancel();

        const place = (index: number) => order.indexOf(index);
        const expected: number[] = [];
        const gone = new Set(timers.flatMap(({ isCancelled }, index) => (isCancelled ? [index] : [])));
        const inLine = [...timers.entries()].sort(
          ([i, a], [j, b]) =>
            a.at - b.at || (a.owner ?? '').localeCompare(b.owner ?? '') || place(i) - place(j),
        );
        for (const [index, { cancels }] of inLine) {
          if (gone.has(index)) continue;
          expected.push(index);
          if (cancels !== null) gone.add(cancels);
        }
        for (let now = 0; now <= 5; now++) queue.runTo(now);
        expect(fired).toEqual(expected);
      },
    ),
    { numRuns: 300 },
  );
});

it('meets what is set on the way a moment later, and holds nobody up for it', () => {
  const queue = new TimerQueue(0);
  const fired: string[] = [];
  queue.set(
    10,
    () => {
      fired.push('bob');
      queue.set(10, () => fired.push('ann'), 'ann');
    },
    'bob',
  );
  queue.set(10, () => fired.push('cyd'), 'cyd');
  queue.runOne(10);
  queue.runOne(10);
  expect(fired).toEqual(['bob', 'cyd']);
  expect(queue.nextMs).toBe(11);
  queue.runOne(11);
  expect(fired).toEqual(['bob', 'cyd', 'ann']);
  expect(queue.nextMs).toBeNull();
});
