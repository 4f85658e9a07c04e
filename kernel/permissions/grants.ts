import { createHash } from 'node:crypto';
import { toSortedJson } from '../json.ts';
import type { Permission } from '../syscalls/define.ts';
import { type AllOf, isAllOfWithin, meet } from './all-of.ts';
import { FLAGS, type Flag, GOVERNORS } from './catalogue.ts';
import { isBlockedWithin, isCommandWithin } from './commands.ts';
import { Budget } from './glob.ts';
import { isHostWithin } from './hosts.ts';
import { isBlockWithin, isPathWithin } from './path-rules.ts';

export const LEVELS = ['unrestricted', 'default', 'standard', 'sandboxed', 'readonly', 'minimal'] as const;
export type Level = (typeof LEVELS)[number];

/** Most that a child may be given, each; null = as much as its parent has. */
export interface ChildBounds {
  /** Live ones at a time, with theirs. */
  readonly maxAgents: number | null;
  readonly memoryBytes: number | null;
  readonly maxPids: number | null;
  /** Cores. */
  readonly cpu: number | null;
}

/**
 * What one principal may have the kernel do for it. A plain value: never changed, replaced whole. What its own process may do
 * inside its sandbox is the sandbox's to bound, not this.
 */
export interface Grants {
  /** Where it came from; says nothing by itself. */
  readonly level: Level | 'custom';
  readonly can: Readonly<Record<Flag, boolean>>;
  /** Permissions of no level that were given by name. */
  readonly extra: readonly Permission[];
  readonly syscalls: {
    /** Only these; null = all that the rest gives. */
    readonly allow: readonly string[] | null;
    readonly deny: readonly string[];
  };
  readonly paths: { readonly read: AllOf; readonly write: AllOf; readonly blocked: readonly string[] };
  readonly commands: { readonly allow: AllOf; readonly blocked: readonly string[] };
  readonly http: {
    readonly domains: AllOf;
    /** Upper case; null = every one. */
    readonly methods: readonly string[] | null;
    /** Addresses of this machine and of private networks. */
    readonly privateNetwork: boolean;
  };
  /** 0 = unlimited. */
  readonly llm: { readonly maxTokens: number; readonly maxCalls: number };
  /** Of one command; 0 = unlimited. */
  readonly maxExecTimeMs: number;
  readonly children: ChildBounds;
}

/** Whether the grants as such give a permission; what it is used on is another matter. */
export function holds({ can, extra }: Grants, permission: Permission): boolean {
  const governor = GOVERNORS[permission];
  if (governor === 'anybody' || governor === 'base') return true;
  return governor === 'operator' ? extra.includes(permission) : can[governor];
}

export function permitsSyscall({ syscalls: { allow, deny } }: Grants, name: string): boolean {
  return !deny.includes(name) && (allow === null || allow.includes(name));
}

/** 0 means no limit at all. */
function isLimitWithin(a: number, b: number): boolean {
  return b === 0 || (a !== 0 && a <= b);
}

function tighter(a: number, b: number): number {
  return a === 0 || b === 0 ? a + b : Math.min(a, b);
}

function isBoundWithin(a: number | null, b: number | null): boolean {
  return b === null || (a !== null && a <= b);
}

function tighterBound(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.min(a, b);
}

const CHILD_BOUNDS = ['maxAgents', 'memoryBytes', 'maxPids', 'cpu'] as const satisfies (keyof ChildBounds)[];

/**
 * In what `a` goes beyond `b`: the name of a part, null = in nothing. By caution it may name a part that does not really go
 * beyond (patterns too contrived to compare); it never misses one that does.
 */
export function firstExcess(a: Grants, b: Grants): string | null {
  const budget = new Budget();
  const flag = FLAGS.find((each) => a.can[each] && !b.can[each]);
  if (flag !== undefined) return `can_${flag}`;
  const extra = a.extra.find((permission) => !holds(b, permission));
  if (extra !== undefined) return `grants:${extra}`;
  if (b.syscalls.allow !== null) {
    const allowed = b.syscalls.allow;
    if (a.syscalls.allow === null || a.syscalls.allow.some((name) => !allowed.includes(name))) {
      const isMoot = a.syscalls.allow?.every(
        (name) => allowed.includes(name) || a.syscalls.deny.includes(name),
      );
      if (isMoot !== true) return 'syscalls.allow';
    }
  }
  const undenied = b.syscalls.deny.find((name) => permitsSyscall(a, name));
  if (undenied !== undefined) return `syscalls.deny:${undenied}`;
  if (a.can.read && !isAllOfWithin(a.paths.read, b.paths.read, isPathWithin, budget))
    return 'filesystem.read';
  if (a.can.write && !isAllOfWithin(a.paths.write, b.paths.write, isPathWithin, budget))
    return 'filesystem.write';
  if (a.can.read || a.can.write) {
    const open = b.paths.blocked.find(
      (pattern) =>
        !a.paths.blocked.includes(pattern) &&
        !a.paths.blocked.some((other) => isBlockWithin(pattern, other, budget)),
    );
    if (open !== undefined) return `filesystem.blocked:${open}`;
  }
  if (a.can.exec) {
    if (!isAllOfWithin(a.commands.allow, b.commands.allow, isCommandWithin, budget)) return 'exec';
    const open = b.commands.blocked.find(
      (rule) => !a.commands.blocked.some((other) => isBlockedWithin(rule, other)),
    );
    if (open !== undefined) return `blocked_commands:${open}`;
    if (!isLimitWithin(a.maxExecTimeMs, b.maxExecTimeMs)) return 'max_exec_time_ms';
  }
  if (a.can.http) {
    if (!isAllOfWithin(a.http.domains, b.http.domains, isHostWithin, budget)) return 'network';
    const { methods } = b.http;
    if (
      methods !== null &&
      (a.http.methods === null || a.http.methods.some((each) => !methods.includes(each)))
    ) {
      return 'http_methods';
    }
    if (a.http.privateNetwork && !b.http.privateNetwork) return 'private_network';
  }
  if (a.can.think) {
    if (!isLimitWithin(a.llm.maxTokens, b.llm.maxTokens)) return 'llm.max_tokens';
    if (!isLimitWithin(a.llm.maxCalls, b.llm.maxCalls)) return 'llm.max_calls';
  }
  if (a.can.spawn) {
    const bound = CHILD_BOUNDS.find((each) => !isBoundWithin(a.children[each], b.children[each]));
    if (bound !== undefined) return `spawn.${bound}`;
  }
  return null;
}

/** Whether `a` lets its holder do nothing that `b` does not. */
export function isSubset(a: Grants, b: Grants): boolean {
  return firstExcess(a, b) === null;
}

function union<Item>(a: readonly Item[], b: readonly Item[]): readonly Item[] {
  return [...new Set([...a, ...b])];
}

function meetFinite(a: readonly string[] | null, b: readonly string[] | null): readonly string[] | null {
  if (a === null || b === null) return a ?? b;
  return a.filter((each) => b.includes(each));
}

/** What both give and neither blocks. It is within both. */
export function intersect(a: Grants, b: Grants): Grants {
  // What lost nothing stays what it was: also a level is still that level.
  if (isSubset(a, b)) return a;
  if (isSubset(b, a)) return b;
  const budget = new Budget();
  const can = Object.fromEntries(FLAGS.map((flag) => [flag, a.can[flag] && b.can[flag]])) as Record<
    Flag,
    boolean
  >;
  return {
    level: 'custom',
    can,
    extra: union(a.extra, b.extra).filter((permission) => holds(a, permission) && holds(b, permission)),
    syscalls: {
      allow: meetFinite(a.syscalls.allow, b.syscalls.allow),
      deny: union(a.syscalls.deny, b.syscalls.deny),
    },
    paths: {
      read: meet(a.paths.read, b.paths.read, isPathWithin, budget),
      write: meet(a.paths.write, b.paths.write, isPathWithin, budget),
      blocked: union(a.paths.blocked, b.paths.blocked),
    },
    commands: {
      allow: meet(a.commands.allow, b.commands.allow, isCommandWithin, budget),
      blocked: union(a.commands.blocked, b.commands.blocked),
    },
    http: {
      domains: meet(a.http.domains, b.http.domains, isHostWithin, budget),
      methods: meetFinite(a.http.methods, b.http.methods),
      privateNetwork: a.http.privateNetwork && b.http.privateNetwork,
    },
    llm: {
      maxTokens: tighter(a.llm.maxTokens, b.llm.maxTokens),
      maxCalls: tighter(a.llm.maxCalls, b.llm.maxCalls),
    },
    maxExecTimeMs: tighter(a.maxExecTimeMs, b.maxExecTimeMs),
    children: {
      maxAgents: tighterBound(a.children.maxAgents, b.children.maxAgents),
      memoryBytes: tighterBound(a.children.memoryBytes, b.children.memoryBytes),
      maxPids: tighterBound(a.children.maxPids, b.children.maxPids),
      cpu: tighterBound(a.children.cpu, b.children.cpu),
    },
  };
}

function policyText({ level: _, ...rest }: Grants): string {
  return toSortedJson(sorted(rest));
}

/** Lists are sets: their order means nothing. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) {
    const items = value.map(sorted);
    return items
      .map((item) => [toSortedJson(item), item] as const)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([, item]) => item);
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, sorted(member)]));
}

const digests = new WeakMap<Grants, string>();

/** 32 hex digits of SHA-256: the same for the same grants, in any order of their lists, on any machine. */
export function digestOf(grants: Grants): string {
  return digests.getOrInsertComputed(grants, () =>
    createHash('sha256').update(policyText(grants)).digest('hex').slice(0, 32),
  );
}
