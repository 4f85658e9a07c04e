import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isValidName, MAX_NAMES_EACH, NameTable } from './names.ts';

describe('NameTable', () => {
  it('gives a name to one principal only, until that one is gone', () => {
    const names = new NameTable();
    names.take(1, 'orchestrator');
    names.take(1, 'orchestrator');
    expect(() => names.take(2, 'orchestrator')).toThrow('name already registered');
    names.release(1);
    names.take(2, 'orchestrator');
    expect(names.idOf('orchestrator')).toBe(2);
  });

  it('lets go of every name of a principal, not only of the newest', () => {
    const names = new NameTable();
    for (const name of ['a', 'b', 'c']) names.take(1, name);
    expect(names.nameOf(1)).toBe('a');
    names.release(1);
    expect(['a', 'b', 'c'].map((name) => names.idOf(name))).toEqual([undefined, undefined, undefined]);
    expect(names.namedIds()).toEqual([]);
  });

  it.each(['Orchestrator', 'ORCHESTRATOR', 'orchestratoR'])('refuses %s beside orchestrator', (name) => {
    const names = new NameTable();
    names.take(1, 'orchestrator');
    expect(() => names.take(2, name)).toThrow('name already registered');
    expect(names.idOf(name)).toBeUndefined();
  });

  it.each(['parent', 'Parent', 'self', 'kernel', 'KERNEL'])('keeps %s for itself', (name) => {
    expect(() => new NameTable().take(1, name)).toThrow('name already registered');
  });

  it.each([
    ['nothing', ''],
    ['a blank first', ' a'],
    ['a blank last', 'a '],
    ['an option', '-rf'],
    ['a control character', 'a\u001b[31m'],
    ['a line break', 'a\nb'],
    ['a Cyrillic look-alike', '\u043erchestrator'],
    ['an invisible character', 'a\u200bb'],
    ['a lone surrogate', 'a\ud800'],
    ['129 characters', 'a'.repeat(129)],
  ])('refuses %s', (_what, name) => {
    expect(isValidName(name)).toBe(false);
    expect(() => new NameTable().take(1, name)).toThrow(
      expect.objectContaining({ code: 'BAD_REQUEST' }) as Error,
    );
  });

  it.each(['worker-1', 'scout (2)', 'team/a:b@c', 'a#b', '_x', '7'])('takes %s', (name) => {
    const names = new NameTable();
    names.take(1, name);
    expect(names.idOf(name)).toBe(1);
  });

  it('bounds the names of one principal', () => {
    const names = new NameTable();
    for (let at = 0; at < MAX_NAMES_EACH; at += 1) names.take(1, `n${at}`);
    expect(() => names.take(1, 'one-more')).toThrow(expect.objectContaining({ code: 'OVERLOAD' }) as Error);
    names.take(1, 'n0');
  });

  it('agrees with a map of lower-case names under any sequence of takes and releases', () => {
    const step = fc.record({
      id: fc.integer({ min: 1, max: 4 }),
      name: fc.constantFrom('a', 'A', 'b', 'B', 'c', 'ab', null),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
        const names = new NameTable();
        const model = new Map<string, { id: number; name: string }>();
        for (const { id, name } of steps) {
          if (name === null) {
            names.release(id);
            for (const [key, holder] of model) if (holder.id === id) model.delete(key);
            continue;
          }
          const holder = model.get(name.toLowerCase());
          const allowed = holder === undefined || (holder.id === id && holder.name === name);
          if (allowed) {
            model.set(name.toLowerCase(), { id, name });
            names.take(id, name);
          } else expect(() => names.take(id, name)).toThrow('name already registered');
          for (const each of ['a', 'A', 'b', 'B', 'c', 'ab']) {
            const held = model.get(each.toLowerCase());
            expect(names.idOf(each)).toBe(held?.name === each ? held.id : undefined);
          }
        }
        expect(new Set(names.namedIds())).toEqual(new Set([...model.values()].map((holder) => holder.id)));
      }),
    );
  });
});
