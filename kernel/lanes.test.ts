import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Lane, Lanes } from './lanes.ts';

describe('a lane', () => {
  it('gives back in order what was put into it, however much that is', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -3000, max: 3000 }), { maxLength: 20 }), (steps) => {
        const lane = new Lane<number>(1, false);
        let put = 0;
        let taken = 0;
        for (const step of steps) {
          for (let n = 0; n < step; n += 1) lane.push(put++);
          for (let n = 0; n > step && lane.length > 0; n -= 1) expect(lane.shift()).toBe(taken++);
          expect(lane.length).toBe(put - taken);
        }
      }),
    );
  });
});

describe('lanes', () => {
  it('are forgotten of callers that never come again, but not while they have something to do', () => {
    const lanes = new Lanes<number>();
    const busy = lanes.make(0, false);
    busy.isWaiting = true;
    for (let id = 1; id < 10_000; id += 1) lanes.make(id, false);
    expect(lanes.size).toBeLessThan(1000);
    expect(lanes.get(0)).toBe(busy);
  });
});
