import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ByteRoom, Slots } from './slots.ts';

it('slots are given to so many at a time, and given back whatever happens', async () => {
  const slots = new Slots('things', { perCaller: 2, total: 3 });
  const ends = Array.from({ length: 3 }, () => Promise.withResolvers<number>());
  const uses = ends.map((end, index) => slots.use(index < 2 ? 1 : 2, () => end.promise));
  await expect(slots.use(1, async () => 0)).rejects.toMatchObject({
    code: 'OVERLOAD',
    message: '2 things of this caller run already',
  });
  await expect(slots.use(3, async () => 0)).rejects.toMatchObject({
    code: 'OVERLOAD',
    message: '3 things run already',
  });
  ends[0]?.resolve(7);
  ends[1]?.reject(new Error('failed'));
  expect(await uses[0]).toBe(7);
  await expect(uses[1]).rejects.toThrow('failed');
  expect(await slots.use(1, async () => 1)).toBe(1);
  ends[2]?.resolve(0);
  await uses[2];
  expect(slots.total).toBe(0);
});

it('room is never more than there is, and all of it comes back', () => {
  const step = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 80 }));
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const room = new ByteRoom({ perCallerBytes: 100, totalBytes: 150 });
      const taken: (readonly [number, number])[] = [];
      for (const [caller, bytes] of steps) {
        const before = [room.bytesOf(caller), room.totalBytes] as const;
        if (room.take(caller, bytes)) taken.push([caller, bytes]);
        else {
          expect(before[0] + bytes > 100 || before[1] + bytes > 150).toBe(true);
          const oldest = taken.shift();
          if (oldest !== undefined) room.give(...oldest);
        }
        expect(room.bytesOf(caller)).toBeLessThanOrEqual(100);
        expect(room.totalBytes).toBeLessThanOrEqual(150);
        expect(room.totalBytes).toBe(taken.reduce((sum, each) => sum + each[1], 0));
      }
      for (const each of taken) room.give(...each);
      expect(room.totalBytes).toBe(0);
    }),
    { numRuns: 200 },
  );
});
