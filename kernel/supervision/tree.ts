import { CloveError } from '../../errors/index.ts';
import { type Group, Groups, type Member, nodesBelow, precedes } from './nodes.ts';
import type { Command, GroupSpec, MemberEnd, MemberSpec } from './types.ts';

/** Names of agents that have ended as they should and can be depended on. */
const KEPT_NAMES = 4096;

export interface TreeOptions {
  /** Of members that are started because the kernel was: so that a machine that comes up does not fall down again. */
  readonly pacedGapMs: number;
  /** 0 ≤ luck < 1 */
  readonly random: () => number;
}

/**
 * Who is to run when: the decisions of supervision, for agents alone and in trees of groups. Pure: it is told what happened and
 * answers with what to do; time is an argument, and nothing is done here. Members are told apart by id, dependencies by name.
 *
 * A start waits for its delay, for what it depends on to be ready, in an ordered group for those before it, and until all that
 * have to end before it have ended. Stops go from the last to the first.
 */
export class SupervisionTree {
  readonly #options: TreeOptions;
  readonly #members = new Map<number, Member>();
  readonly #byName = new Map<string, Member>();
  readonly #groups: Groups;
  /** Wanted and not running. */
  readonly #toStart = new Set<Member>();
  /** Running and to be ended. */
  readonly #toStop = new Set<Member>();
  /** Names of agents that have ended as they should. */
  readonly #completed = new Set<string>();
  #nextPacedMs = Number.NEGATIVE_INFINITY;
  #sequence = 0;

  constructor(options: TreeOptions) {
    this.#options = options;
    this.#groups = new Groups(options.random);
  }

  // ---- groups

  /** A new group, or other rules for one that is there. @throws NOT_FOUND (parent), BAD_REQUEST (a circle) */
  setGroup(spec: GroupSpec): void {
    this.#groups.set(spec, () => this.#assertNoCircle());
  }

  /** @throws NOT_FOUND, CONFLICT while it has members */
  removeGroup(name: string): void {
    this.#groups.remove(name);
  }

  groups(): readonly Group[] {
    return this.#groups.list();
  }

  group(name: string): Group | undefined {
    return this.#groups.get(name);
  }

  /** In their order, those of the groups below it included. */
  memberIdsOf(name: string): number[] {
    const group = this.#groups.get(name);
    return group === undefined ? [] : nodesBelow(group).map(({ spec }) => spec.id);
  }

  // ---- members

  /** @throws NOT_FOUND (group, dependency), BAD_REQUEST (it would wait for itself) */
  admit(
    spec: MemberSpec,
    nowMs: number,
    options: { readonly delayMs?: number; readonly isPaced?: boolean } = {},
  ): Command[] {
    const group = spec.group === null ? null : this.#groups.require(spec.group);
    const member: Member = {
      kind: 'member',
      spec,
      group,
      sequence: this.#sequence++,
      phase: 'down',
      isWanted: true,
      mustStop: false,
      scope: null,
      notBeforeMs: nowMs + (options.delayMs ?? 0),
      isPaced: options.isPaced === true,
    };
    // One that is put back comes in the order of ids: what it depends on may come later.
    if (!member.isPaced) {
      const missing = spec.dependsOn.find((name) => !this.#byName.has(name) && !this.#completed.has(name));
      if (missing !== undefined)
        throw new CloveError('NOT_FOUND', `there is no agent ${missing} to depend on`);
    }
    this.#members.set(spec.id, member);
    this.#byName.set(spec.name, member);
    group?.nodes.push(member);
    try {
      this.#assertNoCircle(member);
    } catch (error) {
      this.#forget(member);
      throw error;
    }
    this.#completed.delete(spec.name);
    if (group !== null)
      for (let each: Group | null = group; each !== null; each = each.parent) each.hasFailed = false;
    this.#toStart.add(member);
    // One that is put back waits for restored(): to look at all of them for each of them would take long.
    return member.isPaced ? [] : this.#settle(nowMs);
  }

  /** Someone ends it for good: nothing of it is started any more, and nobody waits for it. */
  release(id: number, nowMs: number): Command[] {
    const member = this.#members.get(id);
    if (member === undefined) return [];
    this.#forget(member);
    return this.#settle(nowMs);
  }

  /** What it needs is there: those that wait for it may start. */
  ready(id: number, nowMs: number): Command[] {
    const member = this.#members.get(id);
    if (member === undefined || member.phase !== 'running') return [];
    member.phase = 'ready';
    return this.#settle(nowMs);
  }

  /** An incarnation is over, or could not be started. */
  ended(id: number, end: MemberEnd, nowMs: number): Command[] {
    const member = this.#members.get(id);
    if (member === undefined || member.phase === 'down') return [];
    const wasToStop = member.mustStop;
    this.#setDown(member);
    const commands: Command[] = [];
    if (wasToStop) this.#afterStop(member, nowMs, commands);
    else this.#afterEnd(member, end, nowMs, commands);
    commands.push(...this.#settle(nowMs));
    return commands;
  }

  /** Somebody else starts and ends it meanwhile (it gets new code): it is neither ready nor asked for anything. */
  suspend(id: number): void {
    const member = this.#members.get(id);
    if (member === undefined) return;
    this.#toStart.delete(member);
    member.phase = 'suspended';
  }

  /** It runs, and is to be told ready; or it does not, and is to be told ended. */
  resume(id: number, nowMs: number): Command[] {
    const member = this.#members.get(id);
    if (member === undefined || member.phase !== 'suspended') return [];
    member.phase = 'running';
    member.notBeforeMs = nowMs;
    return this.#settle(nowMs);
  }

  /** All that the last kernel had are there: what is missing of what they depend on has ended under that one. */
  restored(nowMs: number): Command[] {
    for (const member of this.#toStart) for (const name of this.#missing(member)) this.#complete(name);
    return this.#settle(nowMs);
  }

  /** Time has passed. */
  tick(nowMs: number): Command[] {
    return this.#settle(nowMs);
  }

  /** When to tick next; null = nothing waits for time to pass. */
  nextWakeMs(): number | null {
    let next: number | null = null;
    for (const member of this.#toStart) {
      const at = member.isPaced ? Math.max(member.notBeforeMs, this.#nextPacedMs) : member.notBeforeMs;
      // Thousands may wait after a start of the kernel: what they need is looked at only where it matters.
      if ((next !== null && at >= next) || this.#isHeldBack(member)) continue;
      next = at;
    }
    return next;
  }

  /** What a member that is down waits for besides time. */
  waitsFor(id: number): string[] {
    const member = this.#members.get(id);
    if (member === undefined || member.phase !== 'down') return [];
    return [...this.#missing(member), ...this.#prerequisites(member).map(({ spec }) => spec.name)];
  }

  phaseOf(id: number): Member['phase'] | null {
    return this.#members.get(id)?.phase ?? null;
  }

  /** Dependencies that nobody has the name of. */
  missing(id: number): string[] {
    const member = this.#members.get(id);
    return member === undefined ? [] : this.#missing(member);
  }

  /** All members, those that must end first in front: nobody ends before those that need it. */
  stopWaves(ids: readonly number[]): number[][] {
    const left = new Map<Member, Set<Member>>();
    for (const id of ids) {
      const member = this.#members.get(id);
      if (member !== undefined) left.set(member, new Set());
    }
    for (const member of left.keys())
      for (const other of this.#mustBeReady(member)) left.get(other)?.add(member);
    const waves: number[][] = [ids.filter((id) => !this.#members.has(id))];
    while (left.size > 0) {
      const free = [...left].filter(([, needing]) => !needing.values().some((each) => left.has(each)));
      // There are no circles; should there be one, it ends at once.
      const wave = free.length > 0 ? free.map(([member]) => member) : [...left.keys()];
      for (const member of wave) left.delete(member);
      waves.push(wave.map(({ spec }) => spec.id));
    }
    return waves.filter((wave) => wave.length > 0);
  }

  // ---- decisions

  #afterStop(member: Member, nowMs: number, commands: Command[]): void {
    const { scope, spec } = member;
    if (member.isWanted) {
      this.#wait(member, nowMs, scope, commands);
      return;
    }
    this.#forget(member);
    commands.push({ kind: 'retire', id: spec.id, escalated: false, group: scope?.spec.name ?? null });
  }

  #afterEnd(member: Member, end: MemberEnd, nowMs: number, commands: Command[]): void {
    const { spec, group } = member;
    const ended = { ...end, nowMs };
    if (!spec.restart.wants(ended)) {
      if (end.clean) this.#complete(spec.name);
      this.#forget(member);
      commands.push({ kind: 'retire', id: spec.id, escalated: false, group: null });
      return;
    }
    const isFailure = spec.restart.isFailure(ended);
    if (group !== null && isFailure && !group.intensity.admit(nowMs)) {
      this.#failGroup(group, member, nowMs, commands);
      return;
    }
    const decision = spec.restart.decide(ended);
    if (decision.kind !== 'restart') {
      if (group !== null) {
        this.#failGroup(group, member, nowMs, commands);
        return;
      }
      this.#forget(member);
      commands.push({ kind: 'retire', id: spec.id, escalated: true, group: null });
      return;
    }
    member.notBeforeMs = nowMs + decision.delayMs;
    if (group === null || !isFailure || group.spec.strategy === 'one_for_one') {
      this.#wait(member, nowMs, null, commands);
      return;
    }
    const affected = nodesBelow(group).filter(
      (each) => each === member || group.spec.strategy === 'one_for_all' || precedes(member, each, group),
    );
    this.#restartAll(group, affected, member, decision.delayMs, nowMs, commands);
  }

  /** The members end from the last to the first, and start again from the first to the last. */
  #restartAll(
    scope: Group,
    affected: readonly Member[],
    cause: Member,
    delayMs: number,
    nowMs: number,
    commands: Command[],
  ): void {
    const restarted = affected.filter(
      (each) => each === cause || each.spec.restart.options.policy !== 'never',
    );
    commands.push({
      kind: 'group_restarting',
      group: scope.spec.name,
      strategy: scope.spec.strategy,
      causeId: cause.spec.id,
      memberIds: restarted.map(({ spec }) => spec.id),
      delayMs,
    });
    for (const each of affected) {
      each.notBeforeMs = Math.max(each === cause ? 0 : each.notBeforeMs, nowMs + delayMs);
      each.scope = outer(each.scope, scope);
      each.isWanted = restarted.includes(each);
      if (each !== cause) each.spec.restart.startOver();
      if (each === cause) this.#wait(each, nowMs, scope, commands);
      else if (each.phase !== 'down') this.#mustStop(each);
      else if (!each.isWanted) {
        this.#forget(each);
        commands.push({ kind: 'retire', id: each.spec.id, escalated: false, group: scope.spec.name });
      }
    }
  }

  /** More restarts than the group may have: the one above deals with it, and where there is none all is given up. */
  #failGroup(group: Group, cause: Member, nowMs: number, commands: Command[]): void {
    const { parent } = group;
    group.intensity.clear();
    const { name } = group.spec;
    commands.push({
      kind: 'group_escalated',
      group: name,
      to: parent?.spec.name ?? null,
      causeId: cause.spec.id,
    });
    if (parent === null) {
      this.#giveUp(group, cause, commands);
      return;
    }
    if (!parent.intensity.admit(nowMs)) {
      this.#failGroup(parent, cause, nowMs, commands);
      return;
    }
    const { strategy } = parent.spec;
    const affected = nodesBelow(parent).filter(
      (each) =>
        isBelow(each, group) ||
        strategy === 'one_for_all' ||
        (strategy === 'rest_for_one' && precedes(group, each, parent)),
    );
    const delayMs = group.backoff.nextDelayMs();
    for (const each of affected) {
      for (let above = each.group; above !== null && above !== parent; above = above.parent)
        above.intensity.clear();
    }
    cause.spec.restart.startOver();
    this.#restartAll(parent, affected, cause, delayMs, nowMs, commands);
  }

  #giveUp(group: Group, cause: Member, commands: Command[]): void {
    const members = nodesBelow(group);
    for (let each: readonly Group[] = [group]; each.length > 0; ) {
      for (const one of each) one.hasFailed = true;
      each = each.flatMap(({ nodes }) => nodes.filter((node) => node.kind === 'group'));
    }
    this.#forget(cause);
    commands.push({ kind: 'retire', id: cause.spec.id, escalated: true, group: group.spec.name });
    for (const member of members.toReversed()) {
      if (member === cause) continue;
      member.isWanted = false;
      member.scope = group;
      if (member.phase !== 'down') {
        this.#mustStop(member);
        continue;
      }
      this.#forget(member);
      commands.push({ kind: 'retire', id: member.spec.id, escalated: false, group: group.spec.name });
    }
  }

  // ---- what follows from the decisions

  #wait(member: Member, nowMs: number, scope: Group | null, commands: Command[]): void {
    this.#toStart.add(member);
    const delayMs = Math.max(0, member.notBeforeMs - nowMs);
    commands.push({ kind: 'waiting', id: member.spec.id, delayMs, group: scope?.spec.name ?? null });
  }

  #mustStop(member: Member): void {
    member.mustStop = true;
    this.#toStop.add(member);
  }

  #setDown(member: Member): void {
    member.phase = 'down';
    member.mustStop = false;
    this.#toStop.delete(member);
  }

  #settle(nowMs: number): Command[] {
    const commands: Command[] = [];
    for (const member of this.#toStop) {
      if (member.phase !== 'running' && member.phase !== 'ready') continue;
      if (this.#hasLaterToStop(member)) continue;
      member.phase = 'stopping';
      commands.push({ kind: 'stop', id: member.spec.id });
    }
    for (const member of this.#toStart) {
      if (member.notBeforeMs > nowMs || (member.isPaced && this.#nextPacedMs > nowMs)) continue;
      if (this.#isHeldBack(member)) continue;
      if (member.isPaced) this.#nextPacedMs = nowMs + this.#options.pacedGapMs;
      member.isPaced = false;
      member.scope = null;
      member.phase = 'running';
      this.#toStart.delete(member);
      commands.push({ kind: 'start', id: member.spec.id });
    }
    return commands;
  }

  #hasLaterToStop(member: Member): boolean {
    const { scope } = member;
    if (scope === null) return false;
    for (const other of this.#toStop) {
      if (other !== member && isBelow(other, scope) && precedes(member, other, scope)) return true;
    }
    return false;
  }

  #isHeldBack(member: Member): boolean {
    if (member.scope === null && member.group === null && member.spec.dependsOn.length === 0) return false;
    const { scope } = member;
    if (scope !== null) for (const other of this.#toStop) if (isBelow(other, scope)) return true;
    return this.#missing(member).length > 0 || this.#prerequisites(member).length > 0;
  }

  /** Dependencies that nobody has the name of. */
  #missing({ spec }: Member): string[] {
    return spec.dependsOn.filter((name) => !this.#byName.has(name) && !this.#completed.has(name));
  }

  /** Whom it has to wait for now. */
  #prerequisites(member: Member): Member[] {
    return this.#mustBeReady(member).filter(({ phase }) => phase !== 'ready');
  }

  /** Whom it ever has to wait for: what it depends on and, in ordered groups, those that come before it. */
  #mustBeReady(member: Member): Member[] {
    const found = new Set<Member>();
    for (const name of member.spec.dependsOn) {
      const other = this.#byName.get(name);
      if (other !== undefined && other !== member) found.add(other);
    }
    for (let group = member.group; group !== null; group = group.parent) {
      if (group.spec.strategy === 'one_for_one') continue;
      for (const other of nodesBelow(group)) {
        if (other.isWanted && other !== member && precedes(other, member, group)) found.add(other);
      }
    }
    return [...found];
  }

  /** @throws BAD_REQUEST when somebody would wait for himself */
  #assertNoCircle(from?: Member): void {
    const done = new Set<Member>();
    const visit = (member: Member, path: readonly Member[]): void => {
      if (path.includes(member)) {
        const circle = [...path.slice(path.indexOf(member)), member].map(({ spec }) => spec.name);
        throw new CloveError('BAD_REQUEST', `invalid request: would wait for itself: ${circle.join(' → ')}`);
      }
      if (done.has(member)) return;
      for (const other of this.#mustBeReady(member)) visit(other, [...path, member]);
      done.add(member);
    };
    if (from !== undefined && from.group === null && from.spec.dependsOn.length === 0) return;
    for (const member of this.#members.values()) visit(member, []);
  }

  #complete(name: string): void {
    this.#completed.add(name);
    const [oldest] = this.#completed;
    if (this.#completed.size > KEPT_NAMES && oldest !== undefined) this.#completed.delete(oldest);
  }

  #forget(member: Member): void {
    const { id, name } = member.spec;
    this.#members.delete(id);
    if (this.#byName.get(name) === member) this.#byName.delete(name);
    this.#toStart.delete(member);
    this.#toStop.delete(member);
    member.isWanted = false;
    if (member.group !== null) {
      const at = member.group.nodes.indexOf(member);
      if (at >= 0) member.group.nodes.splice(at, 1);
    }
  }
}

function isBelow(member: Member, group: Group): boolean {
  for (let each = member.group; each !== null; each = each.parent) if (each === group) return true;
  return false;
}

/** The wider of two scopes of one tree. */
function outer(one: Group | null, other: Group): Group {
  for (let each = one; each !== null; each = each.parent) if (each === other) return other;
  return one ?? other;
}
