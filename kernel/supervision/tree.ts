import { CloveError } from '../../errors/index.ts';
import { Needs } from './needs.ts';
import { type Group, Groups, type Member, nodesBelow, precedes } from './nodes.ts';
import type { Command, GroupSpec, MemberEnd, MemberSpec } from './types.ts';

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
  readonly #needs = new Needs();
  readonly #groups: Groups;
  /** Wanted and not running. */
  readonly #toStart = new Set<Member>();
  /** Running and to be ended. */
  readonly #toStop = new Set<Member>();
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
      const [missing] = this.#needs.missing(member);
      if (missing !== undefined)
        throw new CloveError('NOT_FOUND', `there is no agent ${missing} to depend on`);
    }
    this.#members.set(spec.id, member);
    this.#needs.add(member);
    group?.nodes.push(member);
    try {
      this.#assertNoCircle(member);
    } catch (error) {
      this.#forget(member);
      throw error;
    }
    this.#needs.reopen(spec.name);
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

  /** They have ended as they should, under a kernel before this one. */
  completed(names: Iterable<string>): void {
    for (const name of names) this.#needs.complete(name);
  }

  /** All that the last kernel had are there: what is missing of what they depend on has ended under that one. */
  restored(nowMs: number): Command[] {
    for (const member of this.#toStart)
      for (const name of this.#needs.missing(member)) this.#needs.complete(name);
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
    return [
      ...this.#needs.missing(member),
      ...this.#needs.prerequisites(member).map(({ spec }) => spec.name),
    ];
  }

  phaseOf(id: number): Member['phase'] | null {
    return this.#members.get(id)?.phase ?? null;
  }

  /** Dependencies that nobody has the name of. */
  missing(id: number): string[] {
    const member = this.#members.get(id);
    return member === undefined ? [] : this.#needs.missing(member);
  }

  /** All members, those that must end first in front: nobody ends before those that need it. */
  stopWaves(ids: readonly number[]): number[][] {
    const members = ids.map((id) => this.#members.get(id)).filter((member) => member !== undefined);
    const waves = this.#needs.stopWaves(members).map((wave) => wave.map(({ spec }) => spec.id));
    waves.unshift(ids.filter((id) => !this.#members.has(id)));
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
      if (end.clean) this.#needs.complete(spec.name);
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
    return this.#needs.missing(member).length > 0 || this.#needs.prerequisites(member).length > 0;
  }

  /** @throws BAD_REQUEST when somebody would wait for himself */
  #assertNoCircle(from?: Member): void {
    if (from !== undefined && from.group === null && from.spec.dependsOn.length === 0) return;
    this.#needs.assertNoCircle(this.#members.values());
  }

  #forget(member: Member): void {
    this.#members.delete(member.spec.id);
    this.#needs.delete(member);
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
