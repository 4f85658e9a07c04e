import { DEFAULT_RESTART, type RestartOptions, RestartState } from '../agents/restart-policy.ts';
import { SupervisionTree } from './tree.ts';
import type { Command, GroupSpec } from './types.ts';
import { DEFAULT_GROUP } from './types.ts';

/** For tests: agents that exist only here, under a tree, in a time of their own. */
export class Simulation {
  readonly tree: SupervisionTree;
  nowMs = 0;
  /** Everything the tree has asked for, with when. */
  readonly log: (Command & { readonly atMs: number })[] = [];
  readonly running = new Set<number>();
  readonly ready = new Set<number>();
  readonly stopping = new Set<number>();
  readonly retired = new Set<number>();
  readonly released = new Set<number>();
  readonly names = new Map<number, string>();
  readonly dependsOn = new Map<number, readonly string[]>();
  /** Told of each command before it is done. */
  onCommand: (command: Command) => void = () => {};
  #lastId = 0;

  constructor(random: () => number = () => 0.5, pacedGapMs = 20) {
    this.tree = new SupervisionTree({ pacedGapMs, random });
  }

  group(name: string, more: Partial<GroupSpec> = {}): void {
    this.tree.setGroup({ ...DEFAULT_GROUP, name, ...more });
  }

  add(
    name: string,
    more: {
      group?: string;
      order?: number;
      dependsOn?: readonly string[];
      restart?: Partial<RestartOptions>;
      isPaced?: boolean;
      delayMs?: number;
    } = {},
  ): number {
    this.#lastId += 1;
    const id = this.#lastId;
    const restart = { ...DEFAULT_RESTART, policy: 'always' as const, ...more.restart };
    this.names.set(id, name);
    this.dependsOn.set(id, more.dependsOn ?? []);
    const commands = this.tree.admit(
      {
        id,
        name,
        group: more.group ?? null,
        order: more.order ?? 1000,
        dependsOn: more.dependsOn ?? [],
        restart: new RestartState(restart, () => 0.5),
      },
      this.nowMs,
      { isPaced: more.isPaced ?? false, delayMs: more.delayMs ?? 0 },
    );
    this.do(commands);
    return id;
  }

  do(commands: readonly Command[]): void {
    for (const command of commands) {
      this.onCommand(command);
      this.log.push({ ...command, atMs: this.nowMs });
      if (command.kind === 'start') this.running.add(command.id);
      if (command.kind === 'stop') this.stopping.add(command.id);
      if (command.kind === 'retire') this.retired.add(command.id);
    }
  }

  makeReady(id: number): void {
    if (!this.running.has(id)) return;
    this.ready.add(id);
    this.do(this.tree.ready(id, this.nowMs));
  }

  end(id: number, clean = false, livedMs = 0): void {
    if (!this.running.delete(id)) return;
    this.ready.delete(id);
    this.stopping.delete(id);
    this.do(this.tree.ended(id, { clean, livedMs }, this.nowMs));
  }

  release(id: number): void {
    this.released.add(id);
    this.do(this.tree.release(id, this.nowMs));
  }

  /** To the next moment at which something is due. False = nothing is. */
  next(): boolean {
    const at = this.tree.nextWakeMs();
    if (at === null) return false;
    this.nowMs = Math.max(this.nowMs, at);
    this.do(this.tree.tick(this.nowMs));
    return true;
  }

  /** All that run become ready, all that are to stop end, and time goes on, until nothing moves. */
  rest(): void {
    for (let round = 0; round < 10_000; round += 1) {
      const toEnd = [...this.stopping][0];
      const toReady = [...this.running].find((id) => !this.ready.has(id));
      if (toEnd !== undefined) this.end(toEnd);
      else if (toReady !== undefined) this.makeReady(toReady);
      else if (!this.next()) return;
    }
    throw new Error('the simulation does not come to rest');
  }

  /** Kinds and names, in short: what happened since the last time. */
  takeStory(): string[] {
    return this.log.splice(0).map((command) => {
      if (command.kind === 'group_escalated') return `${command.group} escalates to ${command.to}`;
      if (command.kind === 'group_restarting') return `${command.group} restarts`;
      const name = this.names.get(command.id);
      if (command.kind === 'retire') return `${command.escalated ? 'escalate' : 'retire'} ${name}`;
      return `${command.kind} ${name}`;
    });
  }
}
