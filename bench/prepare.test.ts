import { extname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { prepareAll } from './prepare.ts';
import type { PrepareTask } from './scenario.ts';

const module = new URL(`./testing/tiny-prepare${extname(import.meta.filename)}`, import.meta.url);

function task(name: string, input: Record<string, unknown> = {}, cached = false): PrepareTask {
  return { name, key: `key-${name}`, module, input: { name, ...input }, cached };
}

describe('prepareAll', () => {
  it('gives the facts in the order of the tasks, and reports each as it is done', async () => {
    const done: string[] = [];
    const preparations = await prepareAll([task('slow', { waitMs: 150 }), task('fast', {}, true)], {
      signal: new AbortController().signal,
      onDone: (preparation, count) => done.push(`${preparation.name} ${count}`),
    });
    expect(preparations).toMatchObject([
      { name: 'slow', key: 'key-slow', from: 'computed', facts: { name: 'slow' } },
      { name: 'fast', key: 'key-fast', from: 'cache', facts: { name: 'fast' } },
    ]);
    expect(done).toEqual(['fast 1', 'slow 2']);
  });

  it('keeps the code of an error across the thread', async () => {
    const failing = prepareAll([task('a'), task('b', { fail: true })], {
      signal: new AbortController().signal,
      onDone: () => {},
    });
    await expect(failing).rejects.toMatchObject({ code: 'DATA_CORRUPT', message: 'b is damaged' });
  });

  it('can be cancelled', async () => {
    const stop = new AbortController();
    const cancelled = prepareAll([task('long', { waitMs: 60_000 })], {
      signal: stop.signal,
      onDone: () => {},
    });
    setTimeout(() => stop.abort(), 100);
    await expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});
