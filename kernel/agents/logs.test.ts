import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LogBuffer } from './logs.ts';

describe('LogBuffer', () => {
  it('keeps exactly the last bytes of all that was written', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2000 }),
        fc.array(fc.uint8Array({ maxLength: 900 }), { maxLength: 30 }),
        fc.integer({ min: 0, max: 2500 }),
        fc.integer({ min: 0, max: 30_000 }),
        (capacity, chunks, wanted, from) => {
          const log = new LogBuffer(capacity);
          for (const chunk of chunks) log.append(chunk);
          const all = Buffer.concat(chunks);
          const kept = all.subarray(Math.max(0, all.length - capacity));
          expect(log.tail()).toEqual(Buffer.from(kept));
          expect(log.tail(wanted)).toEqual(Buffer.from(kept.subarray(Math.max(0, kept.length - wanted))));
          const begin = Math.max(from, all.length - kept.length);
          expect(log.read(from, wanted)).toEqual(Buffer.from(all.subarray(begin, begin + wanted)));
          expect(log.totalBytes).toBe(all.length);
          expect(log.droppedBytes).toBe(all.length - kept.length);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('gives back its memory and keeps its counts', () => {
    const log = new LogBuffer(100);
    log.append(Buffer.from('hello'));
    log.discard();
    expect(log.tail().length).toBe(0);
    expect([log.totalBytes, log.droppedBytes]).toEqual([5, 5]);
    log.append(Buffer.from('again'));
    expect(log.tail().toString()).toBe('again');
  });
});
