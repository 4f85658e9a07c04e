import { z } from 'zod';
import { OPCODES, type SyscallName } from '../protocol/opcodes.ts';
import { PERMISSIONS, type Permission } from '../syscalls/define.ts';
import type { AllOf } from './all-of.ts';
import { BLOCKED_COMMANDS, BLOCKED_PATHS, GOVERNORS } from './catalogue.ts';
import { parseBlockedCommand, parseCommandRule } from './commands.ts';
import type { Grants } from './grants.ts';
import { parseHostPattern } from './hosts.ts';
import { expandHome, NO_BOUNDS } from './levels.ts';

/** Bounds on what has to be matched at every call, and compared at every change. */
const MAX_ENTRIES = 128;
const MAX_ENTRY_LENGTH = 256;
const MAX_LIST_LENGTH = 4096;
const MAX_LISTS = 8;

const entry = (isGood: (text: string) => boolean, message: string) =>
  z
    .string()
    .min(1)
    .max(MAX_ENTRY_LENGTH)
    .refine((text) => !text.includes('\0') && text.isWellFormed(), 'NUL or malformed text')
    .refine(isGood, message);

function listOf(item: z.ZodType<string>) {
  return z
    .array(item)
    .max(MAX_ENTRIES)
    .refine((entries) => entries.reduce((sum, each) => sum + each.length, 0) <= MAX_LIST_LENGTH, 'too long');
}

const pathPattern = entry(
  (text) => /^(\/|~\/|~$|\*)/.test(text) && !/(^|\/)\.\.?(\/|$)/.test(text),
  'a pattern starts with "/", "~/" or "*/" (anywhere) and has no "." or ".." as a name',
);
const commandRule = entry(
  (text) => parseCommandRule(text) !== null,
  'a command is "*", or a program and its first arguments, without anything for a shell',
);
const blockedRule = entry((text) => parseBlockedCommand(text) !== null, 'names no program');
const host = entry(
  (text) => parseHostPattern(text) !== null,
  'a domain is "*", a host, or "*." and a host; with a port where it is not that of the scheme',
);
const method = z.string().regex(/^(\*|[A-Za-z]{1,32})$/, 'not a method');
export const SYSCALL_NAMES = Object.keys(OPCODES) as [SyscallName, ...SyscallName[]];
const syscallName = z.enum(SYSCALL_NAMES);
const count = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const bound = z.number().min(0).max(Number.MAX_SAFE_INTEGER).nullish();

/** What hangs on a switch is given by the switch alone: a list of paths must not be got round by another name. */
const namedPermission = z.enum(
  PERMISSIONS.filter((permission) => GOVERNORS[permission] === 'operator') as [Permission, ...Permission[]],
);

const paths = listOf(pathPattern);
const commands = listOf(commandRule);
const domains = listOf(host);
const lists = <List extends z.ZodType>(list: List) => z.array(list).max(MAX_LISTS).optional();
/** An empty list of paths would mean all of them elsewhere. */
const somePaths = paths.refine((list) => list.length > 0, 'empty');

/** The permissions object of requests; what GET_PERMS answers can be given back. Unknown members are errors: a misspelt bound must not be none. */
export const policyRequest = z.strictObject({
  can_exec: z.boolean().optional().describe('Default: whether `exec` is there.'),
  can_read: z.boolean().default(true),
  can_write: z.boolean().default(true),
  can_think: z.boolean().default(true),
  can_spawn: z.boolean().default(false).describe('Children, with at most what their parent has.'),
  can_http: z.boolean().optional().describe('Default: whether `network` or `http_methods` has something.'),
  filesystem: z
    .strictObject({
      read: paths.default([]).describe('What can be read; empty = everything that is not blocked.'),
      write: paths.default([]),
      blocked: paths
        .default([])
        .describe('Neither read nor written, with what lies below; added to the usual ones.'),
    })
    .default({ read: [], write: [], blocked: [] })
    .describe(
      '`*` and `?` stay within a name, `**` crosses folders, `~` is the home, a leading `*/` means anywhere.',
    ),
  default_blocked: z
    .boolean()
    .default(true)
    .describe('Also block what every level but `unrestricted` and `default` blocks.'),
  exec: commands
    .default([])
    .describe(
      'Programs, each with the arguments it must begin with; "*" = all, and the shell. Empty = none.',
    ),
  blocked_commands: listOf(blockedRule).default([]),
  network: domains.default([]).describe('Hosts HTTP may reach; empty = none.'),
  http_methods: z.array(method).max(MAX_ENTRIES).default([]).describe('"*" = all; empty = none.'),
  private_network: z.boolean().default(false).describe('HTTP also to this machine and to private networks.'),
  llm: z
    .strictObject({
      max_tokens: count.default(0).describe('0 = unlimited.'),
      max_calls: count.default(0),
      tokens_used: z.number().optional().describe('Not read.'),
      calls_made: z.number().optional().describe('Not read.'),
    })
    .default({ max_tokens: 0, max_calls: 0 }),
  max_exec_time_ms: count.default(30_000).describe('Of one command; 0 = unlimited.'),
  syscalls: z
    .strictObject({
      allow: z.array(syscallName).max(256).nullish().describe('Only these.'),
      deny: z.array(syscallName).max(256).default([]),
    })
    .default({ deny: [] }),
  grants: z
    .array(namedPermission)
    .max(PERMISSIONS.length)
    .default([])
    .describe('Permissions of no level, by name.'),
  spawn: z
    .strictObject({ max_agents: bound, memory: bound, max_pids: bound, cpu: bound })
    .default({})
    .describe(
      'Most children at a time (theirs count, too), and most of bytes, processes and cores for each.',
    ),
  all_of: z
    .strictObject({
      read: lists(somePaths),
      write: lists(somePaths),
      exec: lists(commands),
      network: lists(domains),
    })
    .optional()
    .describe('Further lists, of which each must allow it, too.'),
  level: z.string().optional().describe('Not read.'),
});

export type PolicyRequest = z.output<typeof policyRequest>;
/** Plain JSON that policyRequest takes. */
export type PolicyJson = z.input<typeof policyRequest>;

/** Rules nothing out, if it has an entry for everything. */
function clause(list: readonly string[], everything: RegExp): AllOf {
  return list.some((each) => everything.test(each)) ? [] : [list];
}

const EVERY_PATH = /^(\/?\*\*|\*|\*\/\*|\/\*\*\/\*)$/;
const EVERY = /^\*$/;

/** From a valid object to grants, for a principal whose home is `home`. */
export function grantsOf(request: PolicyRequest, home: string): Grants {
  const { filesystem, all_of: more = {}, spawn } = request;
  const atHome = (list: readonly string[]) => list.map((pattern) => expandHome(pattern, home));
  // No paths at all means all; no commands or hosts at all means none.
  const paths = (list: readonly string[], others: readonly (readonly string[])[] = []): AllOf =>
    [...(list.length === 0 ? [] : [list]), ...others].flatMap((each) => clause(atHome(each), EVERY_PATH));
  const entries = (list: readonly string[], others: readonly (readonly string[])[] = []): AllOf =>
    [list, ...others].flatMap((each) => clause(each, EVERY));
  const methods = [...new Set(request.http_methods.map((each) => each.toUpperCase()))];
  return {
    level: 'custom',
    can: {
      exec: request.can_exec ?? request.exec.length > 0,
      read: request.can_read,
      write: request.can_write,
      think: request.can_think,
      spawn: request.can_spawn,
      http: request.can_http ?? (request.network.length > 0 || methods.length > 0),
    },
    extra: [...new Set(request.grants)],
    syscalls: { allow: request.syscalls.allow ?? null, deny: request.syscalls.deny },
    paths: {
      read: paths(filesystem.read, more.read),
      write: paths(filesystem.write, more.write),
      blocked: unique(
        [...(request.default_blocked ? BLOCKED_PATHS : []), ...filesystem.blocked].map((each) =>
          expandHome(each, home),
        ),
      ),
    },
    commands: {
      allow: entries(request.exec, more.exec),
      blocked: unique([...(request.default_blocked ? BLOCKED_COMMANDS : []), ...request.blocked_commands]),
    },
    http: {
      domains: entries(request.network, more.network),
      methods: methods.includes('*') ? null : methods,
      privateNetwork: request.private_network,
    },
    llm: { maxTokens: request.llm.max_tokens, maxCalls: request.llm.max_calls },
    maxExecTimeMs: request.max_exec_time_ms,
    children: {
      ...NO_BOUNDS,
      maxAgents: spawn.max_agents ?? null,
      memoryBytes: spawn.memory ?? null,
      maxPids: spawn.max_pids ?? null,
      cpu: spawn.cpu ?? null,
    },
  };
}

function unique(list: readonly string[]): readonly string[] {
  return [...new Set(list)];
}

/** The grants as an object that policyRequest takes and grantsOf turns into the same grants. */
export function policyJson(grants: Grants) {
  const { can, paths, commands, http, children } = grants;
  const all = (lists: AllOf, every: string[]): string[] =>
    lists.length === 0 ? every : [...(lists[0] ?? [])];
  const rest = Object.fromEntries(
    Object.entries({ read: paths.read, write: paths.write, exec: commands.allow, network: http.domains })
      .filter(([, lists]) => lists.length > 1)
      .map(([name, lists]) => [name, lists.slice(1).map((list) => [...list])]),
  );
  return {
    can_exec: can.exec,
    can_read: can.read,
    can_write: can.write,
    can_think: can.think,
    can_spawn: can.spawn,
    can_http: can.http,
    filesystem: {
      read: all(paths.read, []),
      write: all(paths.write, []),
      blocked: [...paths.blocked],
    },
    default_blocked: false,
    exec: all(commands.allow, ['*']),
    blocked_commands: [...commands.blocked],
    network: all(http.domains, ['*']),
    http_methods: http.methods === null ? ['*'] : [...http.methods],
    private_network: http.privateNetwork,
    llm: { max_tokens: grants.llm.maxTokens, max_calls: grants.llm.maxCalls },
    max_exec_time_ms: grants.maxExecTimeMs,
    syscalls: {
      allow: grants.syscalls.allow === null ? null : ([...grants.syscalls.allow] as SyscallName[]),
      deny: [...grants.syscalls.deny] as SyscallName[],
    },
    grants: [...grants.extra],
    spawn: {
      max_agents: children.maxAgents,
      memory: children.memoryBytes,
      max_pids: children.maxPids,
      cpu: children.cpu,
    },
    ...(Object.keys(rest).length === 0 ? {} : { all_of: rest }),
    level: grants.level as string,
  } satisfies PolicyJson;
}
