import { expect, it } from 'vitest';
import { Cassette } from './cassette.ts';
import type { Exchange } from './exchange.ts';

function exchangeOf(url: string): Exchange {
  return { request: new Request(url), url: new URL(url), body: new Uint8Array(0) } as Exchange;
}

it('keeps answers up to a number of bytes, then none, and tells how many it did not keep', async () => {
  const cassette = new Cassette(10_000);
  const keep = (path: string, chars: number) =>
    cassette.keep(exchangeOf(`https://real.test/${path}`), new Response('x'.repeat(chars)));
  await keep('a', 3000);
  await keep('b', 3000);
  expect([cassette.size, cassette.dropped]).toEqual([2, 0]);
  await keep('c', 3000);
  // There would be room for it, but it would stand where others are missing.
  await keep('d', 10);
  expect([cassette.size, cassette.dropped]).toEqual([2, 2]);
  expect(await cassette.play(exchangeOf('https://real.test/b'))?.text()).toBe('x'.repeat(3000));
  expect(cassette.play(exchangeOf('https://real.test/d'))).toBeNull();
});

it('has room again for what is loaded, whole', async () => {
  const full = new Cassette(10_000);
  await full.keep(exchangeOf('https://real.test/a'), new Response('x'.repeat(9000)));
  const { entries } = full.snapshot();
  const smaller = new Cassette(100);
  smaller.load(entries);
  expect([smaller.size, smaller.dropped]).toEqual([1, 0]);
  await smaller.keep(exchangeOf('https://real.test/b'), new Response('b'));
  expect([smaller.size, smaller.dropped]).toEqual([1, 1]);
});
