import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { isCloveError } from '../../errors/index.ts';
import { type Caller, FIRST_CLIENT_ID } from '../identity.ts';
import { SYSCALLS } from '../syscalls/table.ts';
import { digestOf, firstExcess, type Grants, isSubset, type Level } from './grants.ts';
import { AGENT_HOME, EVERYTHING, levelGrants } from './levels.ts';
import { Permissions } from './permissions.ts';
import { grantsOf, policyRequest } from './policy.ts';
import { anyGrants, permittedBeyond } from './testing.ts';

const peer = { pid: 1, uid: 0, gid: 0 };
const operator: Caller = { id: FIRST_CLIENT_ID, kind: 'operator', connection: 1, peer };
const agent = (id: number): Caller => ({ id, kind: 'agent', connection: id, peer });
const level = (name: Level) => levelGrants(name, AGENT_HOME);
const custom = (fields: object) => grantsOf(policyRequest.parse(fields), AGENT_HOME);
const refusedBy = (rule: string | RegExp) =>
  expect.objectContaining({
    code: 'FORBIDDEN',
    details: expect.objectContaining({ rule: typeof rule === 'string' ? rule : expect.stringMatching(rule) }),
  });

const PARENTS: Readonly<Record<number, number>> = { 1: operator.id, 2: 1, 3: 2, 4: operator.id };
let permissions: Permissions;

beforeEach(() => {
  permissions = new Permissions({
    cwdOf: () => '/work/here',
    agentOf: (idOrName) => {
      const id = Number(idOrName);
      const parentId = PARENTS[id];
      return parentId === undefined ? undefined : { id, parentId };
    },
  });
});

const decide = (caller: Caller, name: (typeof SYSCALLS)[number]['name'], input: unknown) => {
  const definition = SYSCALLS.find((each) => each.name === name);
  if (definition === undefined) throw new Error(`no syscall ${name}`);
  return permissions.decide(caller, definition, input);
};

describe('a decision', () => {
  it('names its rule, its policy and what it is about', () => {
    permissions.adopt(1, operator.id, level('standard'));
    expect(decide(agent(1), 'READ', { path: '/work/.env' })).toEqual({
      allowed: false,
      ruleId: 'path.blocked:*/.env',
      policyDigest: digestOf(level('standard')),
      object: '/work/.env',
    });
    expect(decide(agent(1), 'READ', { path: 'x' })).toMatchObject({
      allowed: true,
      ruleId: 'granted:files.read',
    });
    expect(decide(agent(1), 'SPAWN', undefined)).toMatchObject({
      allowed: false,
      ruleId: 'syscall.not-granted:SPAWN',
    });
    expect(decide(agent(1), 'EXEC', { command: 'ls' }).ruleId).toBe('syscall.not-granted:EXEC');
    expect(decide(operator, 'READ', { path: '/etc/shadow' })).toMatchObject({
      allowed: true,
      ruleId: 'operator',
    });
  });

  it('takes a relative path for what it is to the caller', () => {
    permissions.adopt(1, operator.id, custom({ filesystem: { read: ['/work/here/*'] } }));
    expect(decide(agent(1), 'READ', { path: 'x' }).allowed).toBe(true);
    expect(decide(agent(1), 'READ', { path: '../x' }).ruleId).toBe('path.not-granted:read');
    expect(decide(agent(1), 'READ', { path: './sub/../x' }).allowed).toBe(true);
  });

  it('follows the list of syscalls, but never denies what anybody may', () => {
    permissions.adopt(
      1,
      operator.id,
      custom({ syscalls: { allow: ['STORE', 'FETCH'], deny: ['FETCH', 'HELLO'] } }),
    );
    expect(decide(agent(1), 'STORE', { key: 'a' })).toMatchObject({ allowed: true, object: 'a' });
    expect(decide(agent(1), 'FETCH', { key: 'a' }).ruleId).toBe('syscall.denied:FETCH');
    expect(decide(agent(1), 'SEND', { to: 3 })).toMatchObject({ ruleId: 'syscall.denied:SEND', object: '3' });
    expect(decide(agent(1), 'HELLO', {}).allowed).toBe(true);
  });

  it('is no for an agent that nobody has vouched for', () => {
    expect(decide(agent(77), 'READ', { path: '/work/x' }).allowed).toBe(false);
    expect(decide(agent(77), 'EXEC', { command: 'id' }).allowed).toBe(false);
  });

  it('about another agent depends on whether it answers to the caller', () => {
    for (const id of [1, 2, 3, 4]) permissions.adopt(id, PARENTS[id] as number, EVERYTHING);
    expect(decide(agent(1), 'KILL', { id: 2 }).allowed).toBe(true);
    expect(decide(agent(1), 'KILL', { id: 3 }).allowed).toBe(true);
    expect(decide(agent(1), 'KILL', { name: '3' }).allowed).toBe(true);
    for (const target of [4, 99, operator.id]) {
      expect(decide(agent(1), 'KILL', { id: target }).ruleId).toBe('agent.not-governed');
    }
    expect(decide(agent(2), 'PAUSE', { id: 1 }).ruleId).toBe('agent.not-governed');
    permissions.adopt(4, operator.id, custom({ can_spawn: true, grants: ['agents.all'] }));
    expect(decide(agent(4), 'LOGS', { id: 1 }).allowed).toBe(true);
    // Whoever is above takes the place of a parent that has gone.
    permissions.release(2);
    expect(decide(agent(1), 'KILL', { id: 3 }).allowed).toBe(true);
    expect(decide(agent(1), 'WAIT', { id: 2 }).allowed).toBe(true);
  });
});

describe('setting grants', () => {
  beforeEach(() => {
    permissions.adopt(1, operator.id, level('default'));
    permissions.adopt(2, 1, level('default'));
    permissions.adopt(4, operator.id, level('default'));
  });

  it('is for an operator to do for every agent', () => {
    permissions.set(operator, 1, EVERYTHING);
    expect(permissions.grantsOf(agent(1)).level).toBe('unrestricted');
    expect(() => permissions.set(operator, 99, EVERYTHING)).toThrow(
      expect.objectContaining({ code: 'NOT_FOUND' }),
    );
    expect(() => permissions.set(operator, operator.id + 1, EVERYTHING)).toThrow(
      expect.objectContaining({ code: 'NOT_FOUND' }),
    );
  });

  it('never adds to what is one’s own', () => {
    expect(() => permissions.set(agent(1), 1, EVERYTHING)).toThrow(refusedBy('permissions.widen:can_spawn'));
    expect(() => permissions.set(agent(1), 1, custom({ network: ['*'] }))).toThrow(
      refusedBy(/^permissions\.widen:can_/),
    );
    expect(permissions.grantsOf(agent(1))).toBe(level('default'));
    permissions.set(agent(1), 1, level('readonly'));
    expect(() => permissions.set(agent(1), 1, level('standard'))).toThrow(
      refusedBy('permissions.widen:can_write'),
    );
  });

  it('keeps what is blocked blocked, without asking for it to be said again', () => {
    permissions.set(operator, 1, custom({ filesystem: { blocked: ['/work/private'] } }));
    const { paths } = permissions.set(
      agent(1),
      1,
      custom({ default_blocked: false, filesystem: { read: ['/work/**'] } }),
    );
    expect(paths.blocked).toContain('/work/private');
    expect(paths.blocked).toContain('*/.env');
  });

  it('ends where there would be too much to compare at every call', () => {
    const more = (n: number) =>
      custom({ filesystem: { blocked: Array.from({ length: 60 }, (_, index) => `/work/${n}/${index}`) } });
    for (let n = 0; n < 3; n += 1) permissions.set(agent(1), 1, more(n));
    const before = permissions.grantsOf(agent(1));
    expect(() => permissions.set(agent(1), 1, more(4))).toThrow(
      expect.objectContaining({ code: 'BAD_REQUEST' }),
    );
    expect(permissions.grantsOf(agent(1))).toBe(before);
  });

  it('is not for others, whether there are any or not', () => {
    for (const target of [4, 99, operator.id, 3]) {
      expect(() => permissions.set(agent(1), target, level('minimal'))).toThrow(
        refusedBy('permissions.not-yours'),
      );
    }
    expect(() => permissions.set(agent(2), 1, level('minimal'))).toThrow(refusedBy('permissions.not-yours'));
  });

  it('cuts children along', () => {
    permissions.adopt(3, 2, level('default'));
    permissions.set(agent(1), 1, level('readonly'));
    for (const id of [2, 3]) expect(isSubset(permissions.grantsOf(agent(id)), level('readonly'))).toBe(true);
    permissions.set(operator, 1, EVERYTHING);
    expect(permissions.grantsOf(agent(3)).can.write).toBe(false);
  });

  it('lets a parent give a child what it has, and no more than an operator has left to it', () => {
    permissions.set(agent(1), 2, level('minimal'));
    permissions.set(agent(1), 2, level('default'));
    permissions.set(operator, 2, level('readonly'));
    expect(() => permissions.set(agent(1), 2, level('default'))).toThrow(refusedBy(/^permissions\.widen:/));
    permissions.set(agent(1), 2, level('minimal'));
    permissions.set(agent(1), 2, level('readonly'));
    expect(() => permissions.set(operator, 2, EVERYTHING)).toThrow(refusedBy(/^permissions\.widen:/));
  });

  it('is for an operator’s client to do with its own as it likes; others of it are not touched', () => {
    permissions.set(operator, operator.id, levelGrants('readonly', '/home/me'));
    expect(decide(operator, 'WRITE', { path: '/tmp/x' }).ruleId).toBe('syscall.not-granted:WRITE');
    expect(decide(operator, 'READ', { path: '/home/me/.ssh/id' }).ruleId).toBe('path.blocked:/home/me/.ssh');
    expect(() => permissions.set(operator, 1, EVERYTHING)).toThrow(refusedBy(/^permissions\.widen:/));
    expect(decide({ ...operator, id: operator.id + 1 }, 'WRITE', { path: '/tmp/x' }).allowed).toBe(true);
    permissions.set(operator, operator.id, EVERYTHING);
    expect(decide(operator, 'WRITE', { path: '/tmp/x' })).toMatchObject({
      allowed: true,
      ruleId: 'operator',
    });
  });
});

describe('what outlasts the kernel', () => {
  it('are grants, bounds of an operator and whose child one is', () => {
    permissions.adopt(1, operator.id, level('unrestricted'));
    permissions.adopt(2, 1, custom({ filesystem: { read: ['~/a/**'] }, exec: ['ls'] }));
    permissions.set(operator, 2, level('sandboxed'));
    permissions.set(agent(1), 2, level('minimal'));
    const stored = JSON.parse(JSON.stringify([permissions.stored(1), permissions.stored(2)]));
    expect(stored[0]).toEqual({ grants: { level: 'unrestricted' }, ceiling: null });
    const after = new Permissions({ cwdOf: () => '/', agentOf: () => undefined });
    after.restore(1, operator.id, stored[0]);
    after.restore(2, 1, stored[1]);
    for (const id of [1, 2]) {
      expect(digestOf(after.grantsOf(agent(id)))).toBe(digestOf(permissions.grantsOf(agent(id))));
    }
    expect(after.governs(agent(1), 2)).toBe(true);
    after.set(agent(1), 2, level('sandboxed'));
    expect(() => after.set(agent(1), 2, level('standard'))).toThrow(refusedBy(/^permissions\.widen:/));
  });

  it.each([
    null,
    {},
    { grants: { level: 'root' }, ceiling: null },
    { grants: { policy: { x: 1 } }, ceiling: null },
  ])('is never guessed: %j', (stored) => {
    expect(() => permissions.restore(1, operator.id, stored)).toThrow(
      expect.objectContaining({ code: 'DATA_CORRUPT' }),
    );
    expect(permissions.stored(1)).toBeNull();
  });
});

type Step =
  | { readonly kind: 'set'; readonly by: number; readonly of: number; readonly grants: Grants }
  | { readonly kind: 'adopt'; readonly by: number; readonly grants: Grants }
  | { readonly kind: 'release'; readonly of: number };

const anyId = fc.integer({ min: 1, max: 6 });
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), by: anyId, of: anyId, grants: anyGrants }),
  fc.record({ kind: fc.constant('set' as const), by: anyId, of: anyId, grants: anyGrants }),
  fc.record({ kind: fc.constant('adopt' as const), by: anyId, grants: anyGrants }),
  fc.record({ kind: fc.constant('release' as const), of: anyId }),
);

it('no sequence of calls of agents gives any of them more than the first one was given', () => {
  fc.assert(
    fc.property(anyGrants, fc.array(anyStep, { maxLength: 12 }), (given, steps) => {
      const subject = new Permissions({ cwdOf: () => '/', agentOf: () => undefined });
      subject.adopt(1, operator.id, given);
      const parents = new Map<number, number>([[1, 0]]);
      for (const step of steps) {
        const before = new Map([...parents.keys()].map((id) => [id, subject.grantsOf(agent(id))]));
        try {
          if (step.kind === 'set') subject.set(agent(step.by), step.of, step.grants);
          else if (step.kind === 'release') {
            // The first stays: it is what all else is measured by.
            if (step.of === 1) continue;
            subject.release(step.of);
            const above = parents.get(step.of) ?? 1;
            parents.delete(step.of);
            for (const [id, parent] of parents) if (parent === step.of) parents.set(id, above);
          } else if (parents.has(step.by) && parents.size < 6) {
            const id = [2, 3, 4, 5, 6].find((each) => !parents.has(each)) as number;
            subject.adopt(id, step.by, step.grants);
            parents.set(id, step.by);
          }
        } catch (error) {
          expect(isCloveError(error) && ['FORBIDDEN', 'OVERLOAD'].includes(error.code)).toBe(true);
          for (const [id, grants] of before) expect(subject.grantsOf(agent(id))).toBe(grants);
        }
        for (const [id, parent] of parents) {
          const grants = subject.grantsOf(agent(id));
          expect(firstExcess(grants, given)).toBeNull();
          expect(permittedBeyond(grants, given)).toEqual([]);
          if (parent !== 0) expect(firstExcess(grants, subject.grantsOf(agent(parent)))).toBeNull();
        }
        if (step.kind === 'set' && step.by === step.of && before.has(step.of)) {
          expect(firstExcess(subject.grantsOf(agent(step.of)), before.get(step.of) as Grants)).toBeNull();
        }
      }
    }),
    { numRuns: 100 },
  );
});
