import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestOf, firstExcess, holds, intersect, isSubset, LEVELS } from './grants.ts';
import { AGENT_HOME, EVERYTHING, levelGrants } from './levels.ts';
import { grantsOf, policyJson, policyRequest } from './policy.ts';
import { anyGrants, permitted, permittedBeyond } from './testing.ts';

const level = (name: (typeof LEVELS)[number]) => levelGrants(name, AGENT_HOME);

describe('the levels', () => {
  it('are ordered as their names say', () => {
    const chain = ['minimal', 'readonly', 'standard', 'default', 'unrestricted'] as const;
    for (const [index, narrow] of chain.entries()) {
      for (const wide of chain.slice(index)) expect(firstExcess(level(narrow), level(wide))).toBeNull();
      for (const narrower of chain.slice(0, index))
        expect(isSubset(level(narrow), level(narrower))).toBe(false);
    }
    expect(isSubset(level('sandboxed'), level('standard'))).toBe(true);
    expect(isSubset(level('readonly'), level('sandboxed'))).toBe(false);
  });

  it('give what the table of levels says', () => {
    const flags = Object.fromEntries(LEVELS.map((name) => [name, level(name).can]));
    expect(flags).toMatchObject({
      unrestricted: { exec: true, read: true, write: true, think: true, spawn: true, http: true },
      standard: { exec: false, read: true, write: true, think: true, spawn: false, http: false },
      sandboxed: { exec: false, read: true, write: true, think: true, spawn: false, http: false },
      readonly: { exec: false, read: true, write: false, think: true, spawn: false, http: false },
      minimal: { exec: false, read: false, write: false, think: true, spawn: false, http: false },
    });
  });

  it('give nobody what is only granted by name', () => {
    for (const name of LEVELS) expect(holds(level(name), 'metrics.all')).toBe(false);
    expect(holds(grantsOf(policyRequest.parse({ grants: ['metrics.all'] }), AGENT_HOME), 'metrics.all')).toBe(
      true,
    );
  });
});

it('nothing that hangs on a switch is given by name', () => {
  for (const name of ['files.read', 'exec', 'http', 'agents.spawn', 'state.read', 'none']) {
    expect(policyRequest.safeParse({ can_read: false, grants: [name] }).success, name).toBe(false);
  }
});

describe('the order of grants', () => {
  it.each([
    [{ can_exec: true, exec: ['*'] }, 'can_exec'],
    [{ grants: ['metrics.all'] }, 'grants:metrics.all'],
    [{ filesystem: { read: ['/etc/**'] } }, 'filesystem.read'],
    [{ default_blocked: false }, 'filesystem.blocked:/etc/shadow'],
    [{ can_spawn: true }, 'can_spawn'],
    [{ network: ['*'], http_methods: ['*'] }, 'can_http'],
  ])('sees where %j goes beyond sandboxed', (fields, excess) => {
    const wanted = grantsOf(
      policyRequest.parse({ filesystem: { read: ['/tmp/**'], write: ['/tmp/**'] }, ...fields }),
      AGENT_HOME,
    );
    const bound = level('sandboxed');
    expect(firstExcess(wanted, bound)).toBe(excess);
  });

  it.each([
    [{ syscalls: { deny: ['STORE'] } }, {}, 'syscalls.deny:STORE'],
    [{ syscalls: { allow: ['STORE', 'SEND'] } }, {}, 'syscalls.allow'],
    [{ syscalls: { allow: ['STORE'] } }, { syscalls: { allow: ['STORE', 'SEND'] } }, 'syscalls.allow'],
    [{ llm: { max_calls: 5 } }, { llm: { max_calls: 6 } }, 'llm.max_calls'],
    [{ llm: { max_tokens: 5 } }, {}, 'llm.max_tokens'],
    [{ exec: ['ls'], max_exec_time_ms: 5 }, { exec: ['ls'], max_exec_time_ms: 0 }, 'max_exec_time_ms'],
    [{ exec: ['*'], blocked_commands: ['git push'] }, { exec: ['git'] }, 'blocked_commands:git push'],
    [{ network: ['*'], http_methods: ['GET'] }, { network: ['*'], http_methods: ['PUT'] }, 'http_methods'],
    [{ network: ['*'] }, { network: ['*'], private_network: true }, 'private_network'],
    [
      { can_spawn: true, spawn: { memory: 5 } },
      { can_spawn: true, spawn: { memory: 6 } },
      'spawn.memoryBytes',
    ],
  ])('sees under %j where %j goes beyond: %s', (bound, wanted, excess) => {
    const parse = (fields: object) => grantsOf(policyRequest.parse(fields), AGENT_HOME);
    expect(firstExcess(parse(wanted), parse(bound))).toBe(excess);
    expect(firstExcess(intersect(parse(wanted), parse(bound)), parse(bound))).toBeNull();
  });

  it('is an order', () => {
    fc.assert(
      fc.property(anyGrants, anyGrants, anyGrants, (a, b, c) => {
        expect(isSubset(a, a)).toBe(true);
        expect(isSubset(a, EVERYTHING) || a.http.privateNetwork || a.extra.length > 0).toBe(true);
        if (isSubset(a, b) && isSubset(b, c)) expect(isSubset(a, c)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  it('means that whatever the lesser permits the greater does', () => {
    fc.assert(
      fc.property(anyGrants, anyGrants, (a, b) => {
        const lesser = intersect(a, b);
        for (const greater of [a, b]) expect(permittedBeyond(lesser, greater)).toEqual([]);
        if (isSubset(a, b)) expect(permittedBeyond(a, b)).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });
});

describe('the intersection', () => {
  it('is within both, the same either way and when repeated, and keeps the order', () => {
    fc.assert(
      fc.property(anyGrants, anyGrants, anyGrants, (a, b, c) => {
        const both = intersect(a, b);
        expect(firstExcess(both, a)).toBeNull();
        expect(firstExcess(both, b)).toBeNull();
        expect(digestOf(intersect(both, both))).toBe(digestOf(both));
        expect(digestOf(intersect(both, a))).toBe(digestOf(both));
        const other = intersect(b, a);
        expect(isSubset(both, other) && isSubset(other, both)).toBe(true);
        if (isSubset(a, b)) expect(firstExcess(intersect(a, c), intersect(b, c))).toBeNull();
      }),
      { numRuns: 150 },
    );
  });

  it('permits just what both permit', () => {
    fc.assert(
      fc.property(anyGrants, anyGrants, (a, b) => {
        const [ofA, ofB] = [permitted(a), permitted(b)];
        const both = ofA.filter((sample) => ofB.includes(sample));
        const ofIntersection = permitted(intersect(a, b));
        expect(ofIntersection.filter((sample) => !both.includes(sample))).toEqual([]);
        // A command line can be run by a shell or without one: where one grants the shell and the other the program, both
        // permit the line, but no way to run it.
        const inOneWay = both.filter((sample) => both.includes(withoutShell(sample)));
        expect(inOneWay.filter((sample) => !ofIntersection.includes(sample))).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it('runs a line neither by the shell that only one grants nor by the program that only the other grants', () => {
    const grant = (command: string) => grantsOf(policyRequest.parse({ exec: [command] }), AGENT_HOME);
    const line = JSON.stringify(['EXEC', { command: 'git status' }]);
    const [program, shell] = [grant('git status'), grant('/bin/sh')];
    expect(permitted(program)).toContain(line);
    expect(permitted(shell)).toContain(line);
    expect(permitted(intersect(program, shell))).not.toContain(line);
    expect(permitted(intersect(shell, shell))).toContain(line);
  });
});

describe('grants as JSON', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(anyGrants, anyGrants, (a, b) => {
        for (const grants of [a, intersect(a, b)]) {
          const text = JSON.stringify(policyJson(grants));
          const back = grantsOf(policyRequest.parse(JSON.parse(text)), '/elsewhere');
          expect(digestOf(back)).toBe(digestOf(grants));
        }
      }),
      { numRuns: 100 },
    );
    for (const name of LEVELS) {
      const back = grantsOf(policyRequest.parse(policyJson(level(name))), AGENT_HOME);
      expect(digestOf(back), name).toBe(digestOf(level(name)));
    }
  });

  it('have a digest that the order of lists does not change', () => {
    const digest = (read: string[]) =>
      digestOf(grantsOf(policyRequest.parse({ filesystem: { read } }), AGENT_HOME));
    expect(digest(['/a', '/b'])).toBe(digest(['/b', '/a']));
    expect(digest(['/a', '/b'])).not.toBe(digest(['/a']));
    expect(digestOf(level('standard'))).toMatch(/^[0-9a-f]{32}$/);
  });
});

/** The sample that runs the same words as argv; the sample itself where it is no command line. */
function withoutShell(sample: string): string {
  const [name, input] = JSON.parse(sample) as [string, { command?: string }];
  return input.command === undefined ? sample : JSON.stringify([name, { argv: input.command.split(' ') }]);
}
