import { CloveError } from '../../errors/index.ts';
import { DEFAULT_RESTART, RestartState } from '../agents/restart-policy.ts';
import { Intensity } from './intensity.ts';
import type { GroupSpec, MemberSpec } from './types.ts';

export interface Member {
  readonly kind: 'member';
  readonly spec: MemberSpec;
  readonly group: Group | null;
  /** Of two with the same order the one with the lower comes first. */
  readonly sequence: number;
  /** running: started, and not ready yet; suspended: in the hands of somebody else. */
  phase: 'down' | 'running' | 'ready' | 'stopping' | 'suspended';
  /** It is started again when it is down. */
  isWanted: boolean;
  /** Its incarnation has to end. */
  mustStop: boolean;
  /** The group that is started anew, or given up: nobody below it starts before all have ended that have to. */
  scope: Group | null;
  notBeforeMs: number;
  isPaced: boolean;
}

export interface Group {
  readonly kind: 'group';
  spec: GroupSpec;
  parent: Group | null;
  readonly sequence: number;
  readonly nodes: (Member | Group)[];
  /** Restarts of its members. */
  intensity: Intensity;
  /** Its own restarts, by its parent. */
  backoff: RestartState;
  /** Its members were given up, and none came after that. */
  hasFailed: boolean;
}

type Node = Member | Group;

/** The groups of all trees, by name. */
export class Groups {
  readonly #groups = new Map<string, Group>();
  readonly #random: () => number;
  #sequence = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  get(name: string): Group | undefined {
    return this.#groups.get(name);
  }

  list(): Group[] {
    return [...this.#groups.values()];
  }

  /** @throws NOT_FOUND */
  require(name: string): Group {
    const group = this.#groups.get(name);
    if (group === undefined) throw new CloveError('NOT_FOUND', `there is no group ${name}`);
    return group;
  }

  /** `check` looks at the whole with the change made; what it throws undoes the change. */
  set(spec: GroupSpec, check: () => void): void {
    const parent = spec.parent === null ? null : this.require(spec.parent);
    for (let each = parent; each !== null; each = each.parent) {
      if (each.spec.name === spec.name) {
        throw new CloveError('BAD_REQUEST', `invalid request: group ${spec.name} would be below itself`);
      }
    }
    const known = this.#groups.get(spec.name);
    if (known === undefined) {
      this.#add(spec, parent);
      return;
    }
    const before = { spec: known.spec, parent: known.parent };
    move(known, spec, parent);
    try {
      check();
    } catch (error) {
      move(known, before.spec, before.parent);
      throw error;
    }
    known.intensity = new Intensity(spec.maxRestarts, spec.windowMs);
    known.backoff = this.#backoffOf(spec);
  }

  remove(name: string): void {
    const group = this.require(name);
    if (group.nodes.length > 0) {
      throw new CloveError('CONFLICT', `group ${name} has ${group.nodes.length} members`);
    }
    this.#groups.delete(name);
    if (group.parent !== null) detach(group, group.parent);
  }

  #add(spec: GroupSpec, parent: Group | null): void {
    const group: Group = {
      kind: 'group',
      spec,
      parent,
      sequence: this.#sequence++,
      nodes: [],
      intensity: new Intensity(spec.maxRestarts, spec.windowMs),
      backoff: this.#backoffOf(spec),
      hasFailed: false,
    };
    this.#groups.set(spec.name, group);
    parent?.nodes.push(group);
  }

  #backoffOf({ backoffBaseMs, backoffCapMs }: GroupSpec): RestartState {
    return new RestartState(
      { ...DEFAULT_RESTART, policy: 'always', backoffBaseMs, backoffCapMs },
      this.#random,
    );
  }
}

function move(group: Group, spec: GroupSpec, parent: Group | null): void {
  if (group.parent !== null) detach(group, group.parent);
  group.spec = spec;
  group.parent = parent;
  parent?.nodes.push(group);
}

function detach(node: Node, from: Group): void {
  const at = from.nodes.indexOf(node);
  if (at >= 0) from.nodes.splice(at, 1);
}

/** All members below a group, in their order. */
export function nodesBelow(group: Group): Member[] {
  return group.nodes
    .toSorted(compare)
    .flatMap((node) => (node.kind === 'member' ? [node] : nodesBelow(node)));
}

/** Whether one node of a tree comes before another, both below `group`, and neither below the other. */
export function precedes(one: Node, other: Node, group: Group): boolean {
  const first = childOf(group, one);
  const second = childOf(group, other);
  if (first === null || second === null) return false;
  if (first !== second) return compare(first, second) < 0;
  return first.kind === 'group' && first !== one && first !== other && precedes(one, other, first);
}

/** The member of the group that a node is, or is below of. */
function childOf(group: Group, node: Node): Node | null {
  let each: Node = node;
  for (;;) {
    const above: Group | null = each.kind === 'member' ? each.group : each.parent;
    if (above === null) return null;
    if (above === group) return each;
    each = above;
  }
}

function compare(one: Node, other: Node): number {
  return orderOf(one) - orderOf(other) || tieOf(one) - tieOf(other);
}

function orderOf(node: Node): number {
  return node.spec.order;
}

/** Agents by id, which only ever grows and outlives the kernel; groups before them. */
function tieOf(node: Node): number {
  return node.kind === 'member' ? 1e9 + node.spec.id : node.sequence;
}
