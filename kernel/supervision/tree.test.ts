import { describe, expect, it } from 'vitest';
import { Simulation } from './testing.ts';

/** Without what waits for its time. */
const moves = (story: readonly string[]) => story.filter((line) => !line.startsWith('waiting'));

function trio(strategy: 'one_for_one' | 'one_for_all' | 'rest_for_one', maxRestarts = 5) {
  const world = new Simulation();
  world.group('g', { strategy, maxRestarts });
  const ids = ['a', 'b', 'c'].map((name) => world.add(name, { group: 'g' }));
  world.rest();
  return { world, a: ids[0] as number, b: ids[1] as number, c: ids[2] as number };
}

describe('a supervision tree', () => {
  it('starts an ordered group from the first to the last, each when the one before is ready', () => {
    const world = new Simulation();
    world.group('g', { strategy: 'rest_for_one' });
    const a = world.add('a', { group: 'g' });
    world.add('b', { group: 'g' });
    expect(world.takeStory()).toEqual(['start a']);
    world.makeReady(a);
    expect(world.takeStory()).toEqual(['start b']);
  });

  it('one_for_one restarts only the one that failed', () => {
    const { world, b } = trio('one_for_one');
    world.takeStory();
    world.end(b);
    world.rest();
    expect(world.takeStory()).toEqual(['waiting b', 'start b']);
  });

  it('one_for_all ends the others from the last to the first and starts all from the first to the last', () => {
    const { world, b } = trio('one_for_all');
    world.takeStory();
    world.end(b);
    expect(moves(world.takeStory())).toEqual(['g restarts', 'stop c']);
    world.rest();
    expect(moves(world.takeStory())).toEqual(['stop a', 'start a', 'start b', 'start c']);
  });

  it('rest_for_one leaves alone who comes before the one that failed', () => {
    const { world, a, b } = trio('rest_for_one');
    world.takeStory();
    world.end(b);
    world.rest();
    expect(moves(world.takeStory())).toEqual(['g restarts', 'stop c', 'start b', 'start c']);
    expect(world.running.has(a)).toBe(true);
  });

  it('gives up a group that fails too often: once, and all of it', () => {
    const { world, a, b, c } = trio('one_for_one', 2);
    for (let n = 0; n < 3; n += 1) {
      world.takeStory();
      world.end(b);
      world.rest();
    }
    expect(world.takeStory()).toEqual([
      'g escalates to null',
      'escalate b',
      'stop c',
      'retire c',
      'stop a',
      'retire a',
    ]);
    expect([...world.retired].sort()).toEqual([a, b, c]);
    expect(world.tree.group('g')?.hasFailed).toBe(true);
  });

  it('hands a failure up, where all of the subtree starts anew under its ids', () => {
    const world = new Simulation();
    world.group('top', { strategy: 'rest_for_one', maxRestarts: 1 });
    const db = world.add('db', { group: 'top', order: 1 });
    world.group('workers', { parent: 'top', order: 2, maxRestarts: 1 });
    const w1 = world.add('w1', { group: 'workers' });
    const w2 = world.add('w2', { group: 'workers' });
    const web = world.add('web', { group: 'top', order: 3 });
    world.rest();
    const fail = () => {
      world.takeStory();
      world.end(w1);
      world.rest();
      return moves(world.takeStory());
    };
    expect(fail()).toEqual(['start w1']);
    expect(fail()).toEqual([
      'workers escalates to top',
      'top restarts',
      'stop web',
      'stop w2',
      'start w1',
      'start w2',
      'start web',
    ]);
    expect(world.running.has(db)).toBe(true);
    expect(fail()).toEqual(['start w1']);
    expect(fail()).toEqual([
      'workers escalates to top',
      'top escalates to null',
      'escalate w1',
      'stop web',
      'retire web',
      'stop w2',
      'retire w2',
      'stop db',
      'retire db',
    ]);
    expect(world.running.size).toBe(0);
    expect([...world.retired].sort()).toEqual([db, w1, w2, web].sort());
  });

  it('lets dependents wait for the one they need, and takes a clean end for being ready', () => {
    const world = new Simulation();
    const job = world.add('migrate', { restart: { policy: 'never' } });
    const db = world.add('db');
    world.add('web', { dependsOn: ['migrate', 'db'] });
    world.makeReady(db);
    expect(world.tree.waitsFor(3)).toEqual(['migrate']);
    world.end(job, true, 10);
    expect(world.takeStory()).toEqual(['start migrate', 'start db', 'retire migrate', 'start web']);
  });

  it('refuses who depends on nobody, or on himself by way of others', () => {
    const world = new Simulation();
    expect(() => world.add('x', { dependsOn: ['nobody'] })).toThrow('there is no agent nobody');
    world.group('g', { strategy: 'one_for_all' });
    world.add('second', { group: 'g', order: 2 });
    expect(() => world.add('first', { group: 'g', order: 1, dependsOn: ['second'] })).toThrow(
      /would wait for itself/,
    );
    world.add('later', { group: 'g', order: 3 });
    expect(() => world.group('g', { strategy: 'one_for_all', parent: 'g' })).toThrow('below itself');
  });

  it('starts nobody whose group still has members to end', () => {
    const { world, a, c } = trio('one_for_all');
    world.takeStory();
    world.end(a);
    world.next();
    expect([...world.stopping]).toEqual([c]);
    expect(world.running.has(a)).toBe(false);
    world.rest();
    expect(world.running.size).toBe(3);
  });

  it('never starts again who was released, whatever waits', () => {
    const { world, a, b } = trio('one_for_all');
    world.end(b);
    world.release(a);
    world.end(a);
    world.release(b);
    world.takeStory();
    world.rest();
    expect(moves(world.takeStory())).toEqual(['start c']);
  });

  it('puts members of the last kernel back one after the other, in the order of what they need', () => {
    const world = new Simulation();
    world.add('web', { dependsOn: ['db'], isPaced: true });
    world.add('db', { isPaced: true });
    for (let n = 0; n < 100; n += 1) world.add(`w${n}`, { isPaced: true, dependsOn: ['db', 'gone'] });
    world.do(world.tree.restored(world.nowMs));
    world.rest();
    const starts = world.log.filter(({ kind }) => kind === 'start');
    expect(starts).toHaveLength(102);
    expect(world.names.get((starts[0] as { id: number }).id)).toBe('db');
    for (const { atMs } of starts) {
      expect(
        starts.filter((other) => other.atMs >= atMs && other.atMs < atMs + 1000).length,
      ).toBeLessThanOrEqual(50);
    }
  });

  it('tells in which order all have to end', () => {
    const { world, a, b, c } = trio('rest_for_one');
    const alone = world.add('alone', { dependsOn: ['c'] });
    expect(world.tree.stopWaves([a, b, c, alone])).toEqual([[alone], [c], [b], [a]]);
  });
});
