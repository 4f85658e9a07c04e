import fc from 'fast-check';
import type { Grants } from './grants.ts';
import { LEVELS } from './grants.ts';
import { AGENT_HOME, levelGrants } from './levels.ts';
import { grantsOf, policyRequest } from './policy.ts';

/** Sometimes there, sometimes not. */
const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });
const someOf = (...items: string[]) => fc.subarray(items);

const customGrants: fc.Arbitrary<Grants> = fc
  .record({
    can_exec: maybe(fc.boolean()),
    can_read: maybe(fc.boolean()),
    can_write: maybe(fc.boolean()),
    can_think: maybe(fc.boolean()),
    can_spawn: maybe(fc.boolean()),
    can_http: maybe(fc.boolean()),
    filesystem: fc.record({
      read: someOf('/tmp/*', '/tmp/**', '/work/**', '*/a', '/**', '/data/?'),
      write: someOf('/tmp/*', '/tmp/**', '~/*', '/data/b'),
      blocked: someOf('/tmp/x', '*/.env', '/work/a'),
    }),
    default_blocked: maybe(fc.boolean()),
    exec: someOf('*', 'ls', 'git', 'git status', '/bin/sh'),
    blocked_commands: someOf('sudo', 'git push', 'rm -rf /'),
    network: someOf('*', 'a.example', '*.a.example', 'a.example:*', 'b.example'),
    http_methods: someOf('*', 'GET', 'post'),
    private_network: maybe(fc.boolean()),
    llm: maybe(fc.record({ max_tokens: fc.nat(3), max_calls: fc.nat(3) })),
    max_exec_time_ms: maybe(fc.nat(3)),
    syscalls: maybe(
      fc.record({
        allow: maybe(fc.subarray(['STORE', 'SEND', 'FETCH'] as const)),
        deny: fc.subarray(['STORE', 'SEND'] as const),
      }),
    ),
    grants: fc.subarray(['metrics.all', 'agents.all', 'audit.read'] as const),
    spawn: maybe(fc.record({ max_agents: maybe(fc.nat(3)), memory: maybe(fc.nat(3)) })),
  })
  .map((fields) => grantsOf(policyRequest.parse(fields), AGENT_HOME));

/** For tests: a level, or an object of parts that meet one another. */
export const anyGrants: fc.Arbitrary<Grants> = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom(...LEVELS).map((name) => levelGrants(name, AGENT_HOME)) },
  { weight: 4, arbitrary: customGrants },
);
