import { describe, expect, it } from 'vitest';
import { type Starter, startInOrder } from './start-order.ts';

const starter = (name: string, after: readonly string[] = [], group: string | null = null): Starter => ({
  name,
  after,
  group,
});

/** Who was started when, and who was under way at the same time. */
async function run(starters: readonly Starter[], isStrict = false) {
  const begun: string[] = [];
  const ended: string[] = [];
  let most = 0;
  const answers = await startInOrder(starters, {
    isStrict,
    start: async (index) => {
      const { name } = starters[index] as Starter;
      begun.push(name);
      most = Math.max(most, begun.length - ended.length);
      for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
      ended.push(name);
      return name;
    },
  });
  return { begun, ended, most, answers };
}

describe('the start of many', () => {
  it('is side by side where nobody waits for anybody', async () => {
    const { most, answers } = await run(['a', 'b', 'c'].map((name) => starter(name)));
    expect(most).toBe(3);
    expect(answers).toEqual(['a', 'b', 'c']);
  });

  it('is after those that are named, also when they come later in the list', async () => {
    const { begun, answers } = await run([starter('a', ['c']), starter('b'), starter('c', ['b'])]);
    expect(begun).toEqual(['b', 'c', 'a']);
    expect(answers).toEqual(['a', 'b', 'c']);
  });

  it('is in the order of the list within a group, and beside other groups', async () => {
    const { begun, most } = await run([
      starter('a', [], 'g'),
      starter('b', [], 'h'),
      starter('c', [], 'g'),
      starter('d', [], 'h'),
    ]);
    expect(begun.indexOf('a')).toBeLessThan(begun.indexOf('c'));
    expect(begun.indexOf('b')).toBeLessThan(begun.indexOf('d'));
    expect(most).toBe(2);
  });

  it('is one by one where order is what repeats', async () => {
    const { most, begun } = await run([starter('b'), starter('a'), starter('c')], true);
    expect(most).toBe(1);
    expect(begun).toEqual(['b', 'a', 'c']);
  });

  it('ends when they wait for each other, for themselves or for somebody who is not there', async () => {
    const { answers } = await run([
      starter('a', ['b', 'a']),
      starter('b', ['c']),
      starter('c', ['a', 'nobody']),
    ]);
    expect(answers).toEqual(['a', 'b', 'c']);
    expect((await run([starter('a', ['b']), starter('b', [])], true)).begun).toHaveLength(2);
  });
});
