import { CloveError } from '../../errors/index.ts';
import { type Member, nodesBelow, precedes } from './nodes.ts';

/** Names of agents that have ended as they should and can be depended on. */
const KEPT_NAMES = 4096;

/** Who needs whom: what members depend on by name and, in ordered groups, those that come before them. */
export class Needs {
  readonly #byName = new Map<string, Member>();
  /** Names of agents that have ended as they should. */
  readonly #completed = new Set<string>();

  add(member: Member): void {
    this.#byName.set(member.spec.name, member);
  }

  delete(member: Member): void {
    const { name } = member.spec;
    if (this.#byName.get(name) === member) this.#byName.delete(name);
  }

  /** It has ended as it should. */
  complete(name: string): void {
    this.#completed.add(name);
    const [oldest] = this.#completed;
    if (this.#completed.size > KEPT_NAMES && oldest !== undefined) this.#completed.delete(oldest);
  }

  /** It is there again. */
  reopen(name: string): void {
    this.#completed.delete(name);
  }

  /** Dependencies that nobody has the name of. */
  missing({ spec }: Pick<Member, 'spec'>): string[] {
    return spec.dependsOn.filter((name) => !this.#byName.has(name) && !this.#completed.has(name));
  }

  /** Whom it has to wait for now. */
  prerequisites(member: Member): Member[] {
    return this.#mustBeReady(member).filter(({ phase }) => phase !== 'ready');
  }

  /** All members, those that must end first in front: nobody ends before those that need it. */
  stopWaves(members: readonly Member[]): Member[][] {
    const left = new Map<Member, Set<Member>>(members.map((member) => [member, new Set()]));
    for (const member of left.keys())
      for (const other of this.#mustBeReady(member)) left.get(other)?.add(member);
    const waves: Member[][] = [];
    while (left.size > 0) {
      const free = [...left].filter(([, needing]) => !needing.values().some((each) => left.has(each)));
      // There are no circles; should there be one, it ends at once.
      const wave = free.length > 0 ? free.map(([member]) => member) : [...left.keys()];
      for (const member of wave) left.delete(member);
      waves.push(wave);
    }
    return waves;
  }

  /** @throws BAD_REQUEST when one of them would wait for itself */
  assertNoCircle(members: Iterable<Member>): void {
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
    for (const member of members) visit(member, []);
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
}
