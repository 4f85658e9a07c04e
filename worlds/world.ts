import { setTimeout as sleep } from 'node:timers/promises';
import { CloveError, isCloveError } from '../errors/index.ts';
import { FIRST_CLIENT_ID } from '../kernel/identity.ts';
import { StateStore } from '../kernel/state/state-store.ts';
import type {
  JoinedWorld,
  Member,
  ThoughtUse,
  WorldCommand,
  WorldCommandResult,
  WorldHttpRequest,
  WorldHttpResponse,
  WorldInfo,
} from '../kernel/worlds/host.ts';
import { Chaos, type EventHistory } from './chaos/chaos.ts';
import type { ChaosTarget } from './chaos/target.ts';
import { Checkpoints } from './checkpoints.ts';
import { conditionHolds } from './conditions.ts';
import type { VirtualFiles } from './filesystem/virtual.ts';
import { fetchAs } from './http.ts';
import { filesOf, type WorldParts } from './parts.ts';
import { Presence } from './presence.ts';
import { perform } from './schedule/perform.ts';
import { Schedule } from './schedule/schedule.ts';
import { shellFetch } from './shell/fetch.ts';
import { WorldShell } from './shell/shell.ts';
import { Thinking } from './thinking.ts';

/** Of the shared state of one world. */
const STATE_LIMITS = { totalBytes: 64 * 2 ** 20, globalBytes: 64 * 2 ** 20, callerBytes: 64 * 2 ** 20 };
const KEPT_HAPPENINGS = 500;

/** One thing of the schedule that came about. */
export interface Happening {
  readonly name: string;
  readonly atMs: number;
  readonly error: string | null;
}

/** A world: its parts, whichever form they have, and what happens to them. */
export class World implements JoinedWorld {
  readonly id: string;
  readonly name: string;
  readonly parts: WorldParts;
  readonly chaos: Chaos;
  readonly schedule: Schedule;
  /** ms since the epoch, real time. */
  readonly createdAtMs = Date.now();
  readonly happenings: Happening[] = [];
  /** Messages for members who are not here yet, by name: from a snapshot. */
  readonly pendingMail = new Map<string, { readonly fromName: string; readonly text: string }[]>();
  ownerId: number;
  calls = 0;
  readonly #members = new Map<number, Member>();
  readonly #presence: Presence;
  readonly thinking: Thinking;
  readonly checkpoints: Checkpoints;
  #state: StateStore | null = null;
  #shell: WorldShell | null = null;
  #underWay = 0;
  #closed = false;

  constructor(parts: WorldParts) {
    this.id = parts.id;
    this.name = parts.name;
    this.ownerId = parts.ownerId;
    this.parts = parts;
    const { definition, clock, luck, files, network, outside } = parts;
    this.#presence = new Presence(clock);
    this.checkpoints = new Checkpoints(() => clock.monotonicMs());
    this.thinking = new Thinking(clock, definition.clock.llm_time);
    const target: ChaosTarget = {
      form: parts.form,
      clock,
      files,
      network,
      members: {
        ...outside.members,
        list: () => outside.members.list().filter(({ id }) => this.#members.has(id)),
      },
      pressure: parts.pressure,
      state: () => this.state,
      random: (purpose) => luck.next(purpose),
      request: async (order) => {
        const body = order.body === undefined || order.method === 'GET' ? {} : { body: order.body };
        await network?.fetch(new Request(order.url, { method: order.method, ...body }), {
          agentId: 0,
          agentName: 'load',
        });
      },
    };
    this.chaos = new Chaos(definition.chaos, target, (event) => this.#eventHappened(event));
    this.schedule = new Schedule({
      entries: definition.schedule,
      clock,
      random: (purpose) => luck.next(purpose),
      perform: (entry, name) => perform(entry, name, this),
      holds: (condition, happened) => conditionHolds(condition, this, happened),
      onHappened: (name, error) => this.#happened(name, error),
    });
    files?.onChange(() => this.schedule.poke());
    network?.log.onEntry(() => this.schedule.poke());
  }

  /** From the beginning: rules hold, the schedule runs. A restored world is told where it stood instead. */
  async start(): Promise<void> {
    for (const [key, value] of Object.entries(this.parts.definition.state)) {
      await this.state.store(0, { key, scope: 'global', ttlMs: null, text: JSON.stringify(value) });
    }
    this.chaos.start();
    this.schedule.start();
  }

  get interceptsCommands(): boolean {
    return this.parts.form === 'virtual' && this.parts.files?.interceptsAll === true;
  }

  /** Made when first asked for: many worlds never are. */
  get state(): StateStore {
    const { clock } = this.parts;
    this.#state ??= StateStore.open({
      databasePath: null,
      limits: STATE_LIMITS,
      monotonicMs: () => clock.monotonicMs(),
      wallMs: () => clock.nowMs(),
    });
    return this.#state;
  }

  get hasState(): boolean {
    return this.#state !== null;
  }

  /** The time that members are told. */
  tellMs(): number {
    return this.parts.clock.nowMs() + this.chaos.skewMs;
  }

  interceptsPath(path: string): boolean {
    return this.parts.files?.intercepts(path) === true;
  }

  interceptsUrl(url: string): boolean {
    return this.parts.network !== null && /^https?:/i.test(url);
  }

  async read(member: Member, path: string): Promise<Buffer> {
    return this.#during(() => filesOf(this.parts).read(path, member));
  }

  async write(member: Member, path: string, content: Uint8Array, append: boolean): Promise<void> {
    await this.#during(() => filesOf(this.parts).write(path, content, { append, by: member }));
  }

  async exec(member: Member, command: WorldCommand): Promise<WorldCommandResult> {
    const { clock, luck, network } = this.parts;
    this.#shell ??= new WorldShell({
      files: filesOf(this.parts) as VirtualFiles,
      clock,
      tellMs: () => this.tellMs(),
      random: ({ name }) => luck.next(`shell/${name}`),
      hostname:
        this.name
          .toLowerCase()
          .replace(/[^a-z0-9-]/g, '-')
          .slice(0, 63) || 'world',
      fetch: network === null ? null : (by) => shellFetch((request) => this.http(by, request)),
    });
    // What a command sleeps is the world's time; what it computes is over in this process before the clock is looked at.
    using _waits = this.waits(member.id);
    using _passes = this.#mayMove(member.id) ? this.parts.clock.letPass() : null;
    const shell = this.#shell;
    return await this.#during(() => shell.run(member, command));
  }

  async http(member: Member, request: WorldHttpRequest): Promise<WorldHttpResponse> {
    const { network, clock } = this.parts;
    if (network === null) throw new CloveError('NOT_FOUND', 'this world has no network of its own');
    if (this.chaos.failsUrl(request.url)) {
      throw new CloveError('NETWORK_FAULT', 'Simulated network failure (chaos)', {
        details: { fault: 'http_failure' },
      });
    }
    // What a mock takes its time for is the world's time.
    using _waits = this.waits(member.id);
    using _passes = this.#mayMove(member.id) ? clock.letPass() : null;
    const by = { agentId: member.id, agentName: member.name };
    return await this.#during(() => fetchAs(network, clock, by, request));
  }

  /** Whoever moves a clock that is moved by hand cannot do so while a call of its own waits for it. */
  #mayMove(memberId: number): boolean {
    return memberId >= FIRST_CLIENT_ID || memberId === this.ownerId;
  }

  /** Waits until no call of a member is under way, at most so long in real time. Returns how many are, all the same. */
  async quiet(ms: number): Promise<number> {
    const deadline = performance.now() + ms;
    while (this.#underWay > 0 && performance.now() < deadline) await sleep(5);
    return this.#underWay;
  }

  /** Asks its agents for what they want to come back with; they wait until the answer is disposed of. */
  async checkpointsTaken(): Promise<Disposable> {
    using _asking = this.works('agents are asked for their state');
    return await this.checkpoints.collect();
  }

  async #during<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#underWay += 1;
    try {
      return await work();
    } finally {
      this.#underWay -= 1;
    }
  }

  memberIds(): readonly number[] {
    return [...this.#members.keys()];
  }

  members(): readonly Member[] {
    return [...this.#members.values()];
  }

  memberOf(id: number): Member | undefined {
    return this.#members.get(id);
  }

  /**
   * `isAgent`: it is busy unless it waits; of an operator's client nobody knows. `isWatched`: its process runs in this world, and
   * the clock sees itself whether it waits.
   */
  add(member: Member, isAgent: boolean, isWatched = false): void {
    this.#members.set(member.id, member);
    this.#presence.add(member.id, { isAgent, isWatched });
    this.schedule.poke();
  }

  remove(id: number): boolean {
    this.#presence.remove(id);
    this.checkpoints.release(id);
    return this.#members.delete(id);
  }

  countCall(): void {
    this.calls += 1;
    this.schedule.poke();
  }

  waits(agentId: number): Disposable {
    return this.#presence.waits(agentId);
  }

  listens(agentId: number): Disposable {
    return this.#presence.listens(agentId);
  }

  works(reason: string): Disposable {
    return this.parts.clock.lease(reason);
  }

  serves(agentId: number): Disposable | null {
    return this.#presence.serves(agentId);
  }

  async think<Answer extends ThoughtUse>(
    agentId: number,
    { waits, signal, ask }: { waits: boolean; signal: AbortSignal; ask: () => Promise<Answer> },
  ): Promise<{ readonly answer: Answer; readonly durationMs: number }> {
    const nobody = { [Symbol.dispose]: () => undefined };
    // Who moves the clock by hand cannot do so while it waits for its own thought.
    using _passes = this.#mayMove(agentId) ? this.parts.clock.letPass() : null;
    return await this.thinking.think(ask, () => (waits ? this.waits(agentId) : nobody), signal);
  }

  nowMs(): number {
    return this.parts.clock.nowMs();
  }

  after(memberId: number, ms: number, fire: () => void): () => void {
    // A sleep and no mere timer: somebody waits for it, so a clock that skips may go there.
    const cancelled = new AbortController();
    this.parts.clock.sleep(ms, cancelled.signal, this.#nameOf(memberId)).then(fire, () => {});
    return () => cancelled.abort();
  }

  async sleep(
    memberId: number,
    until: { readonly forMs: number } | { readonly untilMs: number },
    signal: AbortSignal,
  ): Promise<{ nowMs: number; monotonicMs: number }> {
    const { clock } = this.parts;
    await this.#presence.sleep(memberId, until, { signal, name: this.#nameOf(memberId) });
    return { nowMs: this.tellMs(), monotonicMs: clock.monotonicMs() };
  }

  /** Until when a member waits, ms since the world's start: of each call that waits, in the order in which they began. */
  waitsUntilMs(memberId: number): number[] {
    return this.#presence.sleepsUntilMs(memberId);
  }

  /** Names are the same in every run, ids need not be. */
  #nameOf(memberId: number): string | undefined {
    return this.#members.get(memberId)?.name;
  }

  severs(fromId: number, toId: number): string | null {
    const from = this.#members.get(fromId);
    const to = this.#members.get(toId);
    if (from === undefined || to === undefined) return null;
    return this.chaos.severs(from.name, to.name)
      ? `a partition is between ${from.name} and ${to.name}`
      : null;
  }

  info(): WorldInfo {
    const { definition, clock, files, network, seed } = this.parts;
    return {
      id: this.id,
      name: this.name,
      description: definition.description,
      agent_count: this.#members.size,
      syscall_count: this.calls,
      vfs_enabled: files !== null,
      network_mock_enabled: network !== null,
      chaos_enabled: this.chaos.ruleCount > 0 || this.chaos.active().length > 0,
      created_at: this.createdAtMs / 1000,
      owner_id: this.ownerId,
      seed,
      clock_mode: clock.mode,
      world_time: new Date(Math.min(clock.nowMs(), 8.64e15)).toISOString(),
    };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.schedule.close();
    this.chaos.close();
    this.#presence.close();
    this.parts.network?.close();
    this.parts.clock.close();
    this.parts.files?.close();
    void this.#state?.close();
    this.#members.clear();
  }

  #happened(name: string, error: Error | null): void {
    if (this.#closed) return;
    const atMs = this.parts.clock.monotonicMs();
    const reason = error === null ? null : isCloveError(error) ? error.message : `fault: ${error.message}`;
    this.happenings.push({ name, atMs, error: reason });
    if (this.happenings.length > KEPT_HAPPENINGS) this.happenings.shift();
    this.parts.outside.changed({ change: 'schedule', entry: name, world_ms: atMs, error: reason });
  }

  #eventHappened(event: EventHistory): void {
    const { id, kind, source, sinceMs, endedMs, touched } = event;
    this.parts.outside.changed({
      change: 'event',
      event_id: id,
      event_type: kind,
      source,
      since_ms: sinceMs,
      ended_ms: endedMs,
      touched: touched.slice(0, 16),
    });
  }
}
