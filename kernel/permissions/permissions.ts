import os from 'node:os';
import path from 'node:path';
import { CloveError } from '../../errors/index.ts';
import type { Caller } from '../identity.ts';
import type { KeepsByCaller } from '../kernel.ts';
import { PERMISSIONS, type Permission, type SyscallDefinition } from '../syscalls/define.ts';
import { GOVERNORS } from './catalogue.ts';
import { decideCommand } from './commands.ts';
import type { Decision } from './decision.ts';
import { type Grants, holds, intersect, permitsSyscall } from './grants.ts';
import { AGENT_HOME, EVERYTHING, levelGrants } from './levels.ts';
import { objectOf } from './objects.ts';
import { pathRefusal } from './path-rules.ts';
import { forbidden, refusalText } from './refusal.ts';
import { fromStored, type StoredPrincipal, toStored } from './stored.ts';
import { allow, checkHttp, deny, within } from './verdict.ts';

export { checkHttp, deny, within } from './verdict.ts';

/** What an agent holds unless told otherwise. */
export const AGENT_DEFAULTS: readonly Permission[] = PERMISSIONS.filter((permission) =>
  holds(levelGrants('default', AGENT_HOME), permission),
);

/** Lists of what is blocked only ever grow, when an agent narrows itself again and again. */
const MAX_BLOCKED = 256;
const MAX_BLOCKED_LENGTH = 8192;

interface Principal {
  readonly id: number;
  /** Who answers for it: its grants are always within theirs. Null for operators' clients, and for their agents. */
  parent: Principal | null;
  readonly children: Set<Principal>;
  grants: Grants;
  /** What an operator has set: its parent does not go beyond it. Null = nothing. */
  ceiling: Grants | null;
}

export interface PermissionsOptions {
  /** Where relative paths of an agent begin. */
  readonly cwdOf: (agentId: number) => string;
  /** A live agent or one that is remembered. */
  readonly agentOf: (
    idOrName: number | string,
  ) => { readonly id: number; readonly parentId: number } | undefined;
  /** Whether a request to this URL stays in the caller's world: then it needs no grant of hosts. */
  readonly answeredInWorld?: (callerId: number, url: string) => boolean;
}

/** Members of requests that some rule is about. */
interface Input {
  readonly path?: unknown;
  readonly url?: unknown;
  readonly method?: unknown;
  readonly command?: string | null;
  readonly argv?: readonly string[] | null;
  readonly id?: unknown;
  readonly agent_id?: unknown;
  readonly name?: unknown;
}

/**
 * Who may do what. An operator's client holds everything unless it gave something up itself; an agent holds what it was given.
 * Whoever gives must have, a child never has more than its parent, and nobody adds to what is their own.
 */
export class Permissions implements KeepsByCaller {
  readonly #options: PermissionsOptions;
  readonly #principals = new Map<number, Principal>();

  constructor(options: PermissionsOptions) {
    this.#options = options;
  }

  /** Grants of an agent that is about to start. Those of an agent's child are cut to its parent's. @throws OVERLOAD */
  adopt(agentId: number, parentId: number, grants: Grants): void {
    const parent = this.#principals.get(parentId) ?? null;
    for (let each = parent; each !== null; each = each.parent) {
      const { maxAgents } = each.grants.children;
      if (maxAgents !== null && countBelow(each) >= maxAgents) throw tooMany(maxAgents);
    }
    const bounded = parent === null ? grants : intersect(grants, parent.grants);
    const principal: Principal = {
      id: agentId,
      parent,
      children: new Set(),
      grants: bounded,
      ceiling: null,
    };
    parent?.children.add(principal);
    this.#principals.set(agentId, principal);
  }

  /** What must outlast the kernel; null = unknown. Whose child it is the agent itself knows. */
  stored(agentId: number): StoredPrincipal | null {
    const principal = this.#principals.get(agentId);
    if (principal === undefined) return null;
    const { grants, ceiling } = principal;
    return { grants: toStored(grants), ceiling: ceiling === null ? null : toStored(ceiling) };
  }

  /** An agent that was there before the kernel was started again: parents first. @throws DATA_CORRUPT, OVERLOAD */
  restore(agentId: number, parentId: number, stored: unknown): void {
    const { grants, ceiling } = fromStored(stored);
    this.adopt(agentId, parentId, grants);
    (this.#principals.get(agentId) as Principal).ceiling = ceiling;
  }

  /** Its children answer to its parent from now on. */
  release(id: number): void {
    const principal = this.#principals.get(id);
    if (principal === undefined) return;
    const { parent, children } = principal;
    parent?.children.delete(principal);
    for (const child of children) {
      child.parent = parent;
      parent?.children.add(child);
    }
    this.#principals.delete(id);
  }

  grantsOf(caller: Pick<Caller, 'id' | 'kind'>): Grants {
    const own = this.#principals.get(caller.id)?.grants;
    if (own !== undefined) return own;
    return caller.kind === 'operator' ? EVERYTHING : levelGrants('minimal', AGENT_HOME);
  }

  homeOf(kind: Caller['kind']): string {
    return kind === 'operator' ? os.homedir() : AGENT_HOME;
  }

  /** An operator's client as it connects: nothing is asked of it. */
  isUnbounded(caller: Pick<Caller, 'id' | 'kind'>): boolean {
    return caller.kind === 'operator' && this.grantsOf(caller) === EVERYTHING;
  }

  allows(caller: Caller, permission: Permission): boolean {
    const grants = this.grantsOf(caller);
    return holds(grants, permission) || (caller.kind === 'operator' && grants === EVERYTHING);
  }

  list(caller: Caller, all: readonly Permission[]): Permission[] {
    return all.filter((permission) => this.allows(caller, permission));
  }

  /** Whether an agent is the caller itself or answers to it. Everybody does to an operator. */
  governs(caller: Pick<Caller, 'id' | 'kind'>, agentId: number): boolean {
    if (caller.kind === 'operator') return true;
    for (let each = this.#principals.get(agentId) ?? null; each !== null; each = each.parent) {
      if (each.id === caller.id) return true;
    }
    return false;
  }

  /** Whether an agent is any business of the caller. */
  sees(caller: Caller, agent: { readonly id: number; readonly parentId: number }): boolean {
    return (
      this.governs(caller, agent.id) ||
      // Of one that has ended nothing is left here but who its parent was.
      agent.parentId === caller.id ||
      this.grantsOf(caller).extra.includes('agents.all')
    );
  }

  /**
   * The decision about a request; `input` is what its schema made of it, undefined where it is not known. Paths are judged as
   * they are written here and as they turn out to be by checkOpened().
   */
  decide(
    caller: Caller,
    definition: Pick<SyscallDefinition, 'name' | 'permission'>,
    input: unknown,
  ): Decision {
    const grants = this.grantsOf(caller);
    const object = objectOf(input);
    if (caller.kind === 'operator' && grants === EVERYTHING) return allow('operator', grants, object);
    const { name, permission } = definition;
    const staysInWorld = permission === 'http' && this.#staysInWorld(caller, input);
    if (!holds(grants, permission) && !staysInWorld) {
      return deny(`syscall.not-granted:${name}`, grants, object);
    }
    if (permission !== 'none' && !permitsSyscall(grants, name))
      return deny(`syscall.denied:${name}`, grants, object);
    const refusal = this.#refusalOf(caller, grants, permission, input, staysInWorld);
    return refusal === null ? allow(`granted:${permission}`, grants, object) : deny(refusal, grants, object);
  }

  /** What a world answers by itself reaches nobody: who is in one needs no grant for the network outside. */
  #staysInWorld(caller: Caller, input: unknown): boolean {
    const url = (input as Input | undefined)?.url;
    return typeof url === 'string' && this.#options.answeredInWorld?.(caller.id, url) === true;
  }

  #refusalOf(
    caller: Caller,
    grants: Grants,
    permission: Permission,
    input: unknown,
    staysInWorld: boolean,
  ): string | null {
    if (typeof input !== 'object' || input === null) return null;
    const request = input as Input;
    if (permission === 'agents.control') return this.#controlRefusal(caller, grants, request);
    if (permission === 'exec') {
      return decideCommand(request, grants.commands.allow, grants.commands.blocked).refusal;
    }
    const { path: file, url, method } = request;
    const isHttp = GOVERNORS[permission] === 'http';
    if (isHttp && !staysInWorld && typeof url === 'string') {
      const { refusal } = checkHttp(grants, url, typeof method === 'string' ? method : 'GET');
      if (refusal !== null) return refusal;
    }
    const isRead = permission === 'files.read';
    if (typeof file !== 'string' || file === '' || !(isRead || isHttp || permission === 'files.write'))
      return null;
    // What is downloaded is written.
    if (isHttp && !grants.can.write) return 'syscall.not-granted:WRITE';
    return this.#pathRefusal(grants, this.#absolute(caller, file), isRead ? 'read' : 'write');
  }

  /** Ending, stopping and reading others is for those they answer to, unless it is granted by name. */
  #controlRefusal(caller: Caller, { extra }: Grants, { id, agent_id, name }: Input): string | null {
    if (caller.kind === 'operator' || extra.includes('agents.all')) return null;
    const target = id || agent_id || name;
    if (typeof target !== 'number' && typeof target !== 'string') return null;
    const agent = this.#options.agentOf(target);
    // Of one that has ended nothing is left here but who its parent was.
    const isOwn = agent !== undefined && (this.governs(caller, agent.id) || agent.parentId === caller.id);
    return isOwn ? null : 'agent.not-governed';
  }

  #absolute(caller: Caller, file: string): string {
    if (caller.kind === 'operator') return path.resolve(file);
    return file.startsWith('/') ? file : path.posix.join(this.#options.cwdOf(caller.id), file);
  }

  #pathRefusal({ paths }: Grants, file: string, operation: 'read' | 'write'): string | null {
    return pathRefusal(file, operation, paths[operation], paths.blocked);
  }

  /** Whether it matters where a path of this caller really leads. */
  boundsPaths(caller: Caller, operation: 'read' | 'write'): boolean {
    const { paths } = this.grantsOf(caller);
    return paths[operation].length > 0 || paths.blocked.length > 0;
  }

  /** A file that was opened, by the place it turned out to be at. @throws FORBIDDEN */
  checkOpened(caller: Caller, file: string, operation: 'read' | 'write'): void {
    const grants = this.grantsOf(caller);
    const refusal = this.#pathRefusal(grants, file, operation);
    if (refusal === null) return;
    throw forbidden(
      deny(refusal, grants, file),
      refusalText(operation === 'read' ? 'READ' : 'WRITE', refusal),
    );
  }

  /** The argv that a request of a permitted command comes to. @throws FORBIDDEN */
  commandOf(
    caller: Caller,
    request: { command?: string | null | undefined; argv?: string[] | null | undefined },
  ): {
    readonly argv: readonly string[];
    /** Only some commands are granted: names are looked up where only the system puts programs. */
    readonly isBounded: boolean;
  } {
    const grants = this.grantsOf(caller);
    const { refusal, argv } = decideCommand(request, grants.commands.allow, grants.commands.blocked);
    if (refusal !== null)
      throw forbidden(deny(refusal, grants, argv.join(' ')), refusalText('EXEC', refusal));
    return { argv, isBounded: grants.commands.allow.length > 0 };
  }

  /** Longest a command of this caller may run; 0 = unlimited. ms */
  maxExecTimeMs(caller: Caller): number {
    return this.grantsOf(caller).maxExecTimeMs;
  }

  /**
   * Replaces the grants of a principal, and cuts those of its children to them. An operator's client sets anybody's; an agent
   * those of its children up to its own, and its own only to less. @throws FORBIDDEN
   */
  set(caller: Caller, targetId: number, wanted: Grants): Grants {
    const isSelf = targetId === caller.id;
    const own = this.grantsOf(caller);
    const target = this.#principals.get(targetId);
    if (caller.kind === 'operator') {
      // Whatever it gives up, another connection of the same user has it: nothing to guard here.
      if (isSelf) return this.#setOwn(targetId, wanted);
      if (target === undefined) throw new CloveError('NOT_FOUND', `agent not found: ${targetId}`);
      const given = own === EVERYTHING ? wanted : within(own, wanted);
      const bounded = target.parent === null ? given : within(target.parent.grants, given);
      this.#replaceOwn(target, bounded);
      target.ceiling = bounded;
      return bounded;
    }
    if (target === undefined || (!isSelf && target.parent?.id !== caller.id)) {
      const rule = 'permissions.not-yours';
      throw forbidden(deny(rule, own, String(targetId)), refusalText('SET_PERMS', rule));
    }
    const given = within(own, wanted);
    const bounded = isSelf || target.ceiling === null ? given : within(target.ceiling, given);
    this.#replaceOwn(target, bounded);
    return bounded;
  }

  #setOwn(id: number, grants: Grants): Grants {
    const principal = this.#principals.getOrInsertComputed(id, () => ({
      id,
      parent: null,
      children: new Set<Principal>(),
      grants,
      ceiling: null,
    }));
    this.#replace(principal, grants);
    return grants;
  }

  /** @throws BAD_REQUEST when there would be more to match at every call than is bearable */
  #replaceOwn(principal: Principal, grants: Grants): void {
    const { paths, commands } = grants;
    for (const list of [paths.blocked, commands.blocked]) {
      if (
        list.length > MAX_BLOCKED ||
        list.reduce((sum, each) => sum + each.length, 0) > MAX_BLOCKED_LENGTH
      ) {
        throw new CloveError('BAD_REQUEST', 'invalid request: too much would be blocked one by one', {
          hint: 'Name what is allowed in place of what is not.',
        });
      }
    }
    this.#replace(principal, grants);
  }

  #replace(principal: Principal, grants: Grants): void {
    principal.grants = grants;
    // Many children of one have the same.
    const cut = new Map<Grants, Grants>();
    for (const child of principal.children) {
      this.#replace(
        child,
        cut.getOrInsertComputed(child.grants, (held) => intersect(held, grants)),
      );
    }
  }
}

function countBelow(principal: Principal): number {
  let count = 0;
  for (const child of principal.children) count += 1 + countBelow(child);
  return count;
}

function tooMany(maxAgents: number): CloveError {
  return new CloveError(
    'OVERLOAD',
    `${maxAgents} agents answer to this caller already, the most it may have`,
    {
      details: { rule: 'quota.exceeded:agents', limit: maxAgents },
    },
  );
}
