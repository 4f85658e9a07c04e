import fc from 'fast-check';
import { SYSCALLS } from '../syscalls/table.ts';
import { type Grants, LEVELS } from './grants.ts';
import { AGENT_HOME, levelGrants } from './levels.ts';
import { Permissions } from './permissions.ts';
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

const FILES = ['/tmp/a', '/tmp/x/a', '/work/a', '/work/.env', '/etc/shadow', '/data/b'];
const COMMANDS = [['ls'], ['git', 'status'], ['git', 'push'], ['sudo'], ['sh', '-c', 'x']];
const URLS = ['http://a.example/', 'https://x.a.example/', 'http://b.example/', 'http://a.example:8080/'];

/** A request of each kind that rules are about, and one of every syscall. */
const SAMPLES: readonly (readonly [string, unknown])[] = [
  ...FILES.flatMap((path) => [['READ', { path }] as const, ['WRITE', { path }] as const]),
  ...COMMANDS.flatMap((argv) => [
    ['EXEC', { argv }] as const,
    ['EXEC', { command: argv.join(' ') }] as const,
  ]),
  ...URLS.flatMap((url) => ['GET', 'POST'].map((method) => ['HTTP', { url, method }] as const)),
  ...FILES.map((path) => ['DOWNLOAD', { path, url: 'http://a.example/' }] as const),
  ['KILL', { id: 2 }],
  ...SYSCALLS.map(({ name }) => [name, {}] as const),
];

/** What an agent with these grants is permitted, of the samples: by the decision itself, not by comparing grants. */
export function permitted(grants: Grants): string[] {
  const permissions = new Permissions({ cwdOf: () => '/work', agentOf: () => ({ id: 2, parentId: 0 }) });
  permissions.adopt(1, 0, grants);
  const caller = { id: 1, kind: 'agent', connection: 1, peer: { pid: 1, uid: 1, gid: 1 } } as const;
  return SAMPLES.filter(([name, input]) => {
    const definition = SYSCALLS.find((each) => each.name === name);
    if (definition === undefined) throw new Error(`no syscall ${name}`);
    return permissions.decide(caller, definition, input).allowed;
  }).map((sample) => JSON.stringify(sample));
}

/** What the one permits and the other does not. */
export function permittedBeyond(a: Grants, b: Grants): string[] {
  const ofB = new Set(permitted(b));
  return permitted(a).filter((sample) => !ofB.has(sample));
}
