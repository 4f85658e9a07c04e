import { expect, it } from 'vitest';
import { stalled } from './relive.ts';

it('gives an agent the time it took then and ten seconds more, and five minutes for all', () => {
  expect(stalled(0, 10_000, 10_000)).toBeNull();
  expect(stalled(0, 10_001, 10_001)).toBe('did not come within 10000 ms');
  expect(stalled(60_000, 70_000, 70_000)).toBeNull();
  expect(stalled(60_000, 70_001, 70_001)).toBe('did not come within 70000 ms');
  // Neither an hour's sleep nor many small ones hold the time of a world for longer.
  expect(stalled(3_600_000, 300_000, 300_000)).toBeNull();
  expect(stalled(3_600_000, 300_001, 300_001)).toMatch(/to where it was within 300000 ms/);
  expect(stalled(100, 50, 300_001)).toMatch(/to where it was within 300000 ms/);
});
