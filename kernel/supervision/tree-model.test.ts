import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Simulation } from './testing.ts';
import { STRATEGIES } from './types.ts';

/**
 * Trees of any form under any course of events, in virtual time. What must hold whatever happens: nobody runs before what he
 * needs is ready, nobody starts while others of the same restart still end, ends come from the last to the first, no more
 * restarts than allowed, who was killed or given up is never started, and each is given up at most once.
 */

const form = fc.record({
  groups: fc.array(
    fc.record({
      parent: fc.option(fc.nat(2)),
      strategy: fc.constantFrom(...STRATEGIES),
      maxRestarts: fc.nat(3),
      windowMs: fc.integer({ min: 100, max: 100_000 }),
      order: fc.nat(3),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  members: fc.array(
    fc.record({
      group: fc.option(fc.nat(2)),
      order: fc.nat(3),
      dependsOn: fc.option(fc.nat(5)),
      policy: fc.constantFrom('always' as const, 'on-failure' as const, 'never' as const),
      maxRestarts: fc.nat(6),
    }),
    { minLength: 1, maxLength: 6 },
  ),
});

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('end' as const),
      who: fc.nat(5),
      clean: fc.boolean(),
      livedMs: fc.nat(2000),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('ready' as const), who: fc.nat(5) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(3000) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('stopped' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('kill' as const), who: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reload' as const), who: fc.nat(5) }) },
);

function build({ groups, members }: typeof form extends fc.Arbitrary<infer Form> ? Form : never): Simulation {
  const world = new Simulation();
  groups.forEach((group, index) => {
    const parent = group.parent !== null && group.parent < index ? `g${group.parent}` : null;
    world.group(`g${index}`, { ...group, parent });
  });
  members.forEach((member, index) => {
    const { group, dependsOn, order, policy, maxRestarts } = member;
    try {
      world.add(`m${index}`, {
        ...(group === null || group >= groups.length ? {} : { group: `g${group}` }),
        order,
        dependsOn: dependsOn !== null && dependsOn < index ? [`m${dependsOn}`] : [],
        restart: { policy, maxRestarts },
      });
    } catch {
      // A circle, or one that needs somebody who could not be added: refused, and nothing of it is left.
    }
  });
  return world;
}

it('holds what it promises, whatever happens', () => {
  fc.assert(
    fc.property(form, fc.array(step, { maxLength: 60 }), (shape, steps) => {
      const world = build(shape);
      const gone = new Set<number>();
      const escalated = new Set<number>();
      world.onCommand = (command) => {
        if (command.kind === 'group_restarting' || command.kind === 'group_escalated') return;
        const { id } = command;
        expect(gone.has(id), `${command.kind} of one that is gone`).toBe(false);
        if (command.kind === 'start') {
          expect(world.running.has(id), 'started twice').toBe(false);
          for (const name of world.dependsOn.get(id) ?? []) {
            const needed = [...world.names].filter(([, each]) => each === name).map(([each]) => each);
            expect(
              needed.every((each) => world.ready.has(each) || gone.has(each)),
              'needs one that is not ready',
            ).toBe(true);
          }
        }
        if (command.kind === 'stop') expect(world.running.has(id), 'stops one that does not run').toBe(true);
        if (command.kind === 'retire') {
          expect(world.running.has(id), 'gave up one that runs').toBe(false);
          if (command.escalated) {
            expect(escalated.has(id)).toBe(false);
            escalated.add(id);
          }
          gone.add(id);
        }
      };
      for (const each of steps) {
        const id = 'who' in each ? each.who + 1 : 0;
        if (each.kind === 'end') world.end(id, each.clean, each.livedMs);
        if (each.kind === 'ready') world.makeReady(id);
        if (each.kind === 'stopped') {
          const next = [...world.stopping][0];
          if (next !== undefined) world.end(next);
        }
        if (each.kind === 'kill') {
          world.release(id);
          gone.add(id);
        }
        if (each.kind === 'reload' && world.running.has(id)) {
          world.tree.suspend(id);
          world.ready.delete(id);
          world.do(world.tree.tick(world.nowMs));
          world.do(world.tree.resume(id, world.nowMs));
        }
        if (each.kind === 'pass') {
          world.nowMs += each.ms;
          world.do(world.tree.tick(world.nowMs));
        }
      }
      // Left alone, everybody who is still wanted runs and is ready, and nothing is to be ended.
      world.rest();
      expect(world.stopping.size).toBe(0);
      for (const id of world.names.keys()) {
        if (gone.has(id) || world.tree.phaseOf(id) === null) continue;
        const missing = world.tree.missing(id);
        if (missing.length > 0) continue;
        const waits = world.tree.waitsFor(id);
        expect(world.ready.has(id) || waits.length > 0, `m${id - 1} is ${world.tree.phaseOf(id)}`).toBe(true);
      }
    }),
    { numRuns: 1500 },
  );
});

it('restarts no more often than a group may, and then escalates exactly once', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...STRATEGIES),
      fc.nat(4),
      fc.integer({ min: 1, max: 50_000 }),
      fc.array(fc.record({ who: fc.nat(2), afterMs: fc.nat(20_000) }), { maxLength: 40 }),
      (strategy, maxRestarts, windowMs, failures) => {
        const world = new Simulation();
        world.group('g', { strategy, maxRestarts, windowMs });
        const ids = [0, 1, 2].map((n) => world.add(`m${n}`, { group: 'g', restart: { maxRestarts: 1000 } }));
        world.rest();
        const failedAt: number[] = [];
        for (const { who, afterMs } of failures) {
          world.nowMs += afterMs;
          const id = ids[who] as number;
          if (!world.running.has(id)) continue;
          world.end(id);
          if (!world.log.some(({ kind }) => kind === 'group_escalated')) failedAt.push(world.nowMs);
          world.rest();
        }
        for (const at of failedAt) {
          const within = failedAt.filter((other) => other <= at && at - other < windowMs);
          expect(within.length).toBeLessThanOrEqual(maxRestarts);
        }
        const given = world.log.filter(({ kind }) => kind === 'group_escalated');
        expect(given.length).toBeLessThanOrEqual(1);
        expect(world.running.size).toBe(given.length === 1 ? 0 : 3);
        expect(world.log.filter((command) => command.kind === 'retire' && command.escalated)).toHaveLength(
          given.length,
        );
      },
    ),
    { numRuns: 300 },
  );
});
