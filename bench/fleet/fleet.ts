/** What an oracle has in hand: one fleet under one kernel, with everything that can be seen of it from outside. */
import { CloveError, errorToData, isCloveError } from '../../errors/index.ts';
import type { CloveClient, ReceivedMessage } from '../../sdk/typescript/index.ts';
import type { Luck } from '../../worlds/luck/streams.ts';
import type { Allowance } from '../runtimes/isolation.ts';
import type { MetricTree, ParameterValue, TrialParameters, TrialResult } from '../types.ts';
import { monotonicMs } from '../worker/execute.ts';
import type { ActivityRecorder } from './activity.ts';
import { Arrivals, DEFAULT_WAIT_MS, within } from './arrivals.ts';
import { applyFaults } from './faults.ts';
import { type JudgedFleet, type Judgement, type JudgeRequest, judgeWork } from './judge.ts';
import type { CheckResult, FleetMark, FleetRecord } from './record.ts';
import { agentNames, programText, spawnRequestOf } from './spawn.ts';
import { historyOf, marksOf } from './timeline.ts';
import type {
  AgentExitReport,
  AgentPermissions,
  CgroupFigures,
  FleetAgent,
  FleetEvent,
  FleetScenario,
  Observation,
  Role,
  Site,
  Waiting,
} from './types.ts';

/** Between two looks at something that no event tells of. */
const LOOK_AGAIN_MS = 50;
const MAX_EVIDENCE_CHARS = 2000;
const MAX_POINTS = 5000;
const MAX_MARKS = 2000;
export const ORACLE = 'oracle';
/** Not messages and state: what agents do among each other is theirs, and may be a flood. */
const WATCHED = [
  'AGENT_SPAWNED',
  'AGENT_EXITED',
  'AGENT_PAUSED',
  'AGENT_RESUMED',
  'AGENT_RESTARTING',
  'AGENT_ESCALATED',
  'SYSCALL_BLOCKED',
  'RESOURCE_WARNING',
  'CUSTOM',
];

export interface FleetClients {
  /** Calls. */
  readonly client: CloveClient;
  /** Holds the name `oracle` and only receives: a client that also calls would look for messages less often. */
  readonly inbox: CloveClient;
  readonly watcher: CloveClient;
}

export class FleetRun<Facts> implements JudgedFleet {
  readonly params: TrialParameters;
  readonly seed: number;
  readonly luck: Luck;
  readonly folder: string;
  readonly isProtected: boolean;
  readonly facts: Facts;
  readonly signal: AbortSignal;
  readonly client: CloveClient;
  readonly #clients: FleetClients;
  readonly #scenario: FleetScenario<Facts>;
  readonly #allowance: Allowance;
  readonly #startedAtMs: number;
  readonly #startedWallMs: number;
  readonly #agents: FleetAgent[] = [];
  readonly #events: Arrivals<FleetEvent>;
  readonly #messages: Arrivals<ReceivedMessage>;
  readonly #asked = new Map<number, (message: ReceivedMessage, atMs: number) => void>();
  readonly #checks: CheckResult[] = [];
  readonly #marks: FleetMark[] = [];
  readonly #series = new Map<string, { unit: string; points: [number, number][] }>();
  readonly #metrics: Record<string, unknown> = {};
  readonly #facts: Record<string, ParameterValue | null> = {};
  readonly #onLog: (line: string) => void;
  readonly #loops: Promise<void>[] = [];
  readonly #lastLooks = new Map<string, CgroupFigures>();
  #nextAsk = 1;

  constructor(
    scenario: FleetScenario<Facts>,
    site: Site & { readonly facts: Facts },
    clients: FleetClients,
    run: {
      readonly allowance: Allowance;
      readonly signal: AbortSignal;
      readonly startedAtMs: number;
      readonly startedWallMs: number;
      readonly onLog: (line: string) => void;
    },
  ) {
    this.params = site.params;
    this.seed = site.seed;
    this.luck = site.luck;
    this.folder = site.folder;
    this.isProtected = site.isProtected;
    this.facts = site.facts;
    this.signal = run.signal;
    this.client = clients.client;
    this.#clients = clients;
    this.#scenario = scenario;
    this.#allowance = run.allowance;
    this.#startedAtMs = run.startedAtMs;
    this.#startedWallMs = run.startedWallMs;
    this.#onLog = run.onLog;
    this.#events = new Arrivals(run.signal);
    this.#messages = new Arrivals(run.signal);
  }

  /** Begins to listen; before any agent is started. */
  async listen(): Promise<void> {
    const { inbox, watcher } = this.#clients;
    await inbox.register(ORACLE);
    await watcher.subscribe(WATCHED);
    this.#loops.push(this.#receive(inbox), this.#watch(watcher));
  }

  /** Takes what the kernel has told until now, and what those have used that still run; ends listening. */
  async settle(): Promise<void> {
    for (const { name } of this.#agents) {
      const figures = await this.cgroup(name).catch(() => null);
      if (figures !== null) this.#lastLooks.set(name, figures);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    await Promise.all(Object.values(this.#clients).map((client: CloveClient) => client.close()));
    await Promise.all(this.#loops);
  }

  get agents(): readonly FleetAgent[] {
    return this.#agents;
  }

  get events(): readonly FleetEvent[] {
    return this.#events.items;
  }

  get messages(): readonly ReceivedMessage[] {
    return this.#messages.items;
  }

  nowMs(): number {
    return monotonicMs() - this.#startedAtMs;
  }

  async start(...roles: string[]): Promise<readonly FleetAgent[]> {
    const all = this.#scenario.roles;
    const wanted = roles.length === 0 ? Object.keys(all) : roles;
    const started: FleetAgent[] = [];
    for (const name of wanted) {
      const role = this.role(name);
      for (const agentName of agentNames(name, role.count ?? 1))
        started.push(await this.#spawn(agentName, name, role));
    }
    this.#agents.push(...started);
    const faults = (this.#scenario.faults ?? []).filter((fault) => wanted.includes(fault.role));
    applyFaults(faults, this);
    return started;
  }

  role(name: string): Role {
    const role = this.#scenario.roles[name];
    if (role === undefined) throw new CloveError('CONFIG', `the scenario has no role "${name}"`);
    return role;
  }

  judge(request: JudgeRequest): Promise<Judgement> {
    return judgeWork(this, request);
  }

  async spawnJudge(
    role: string,
    permissions: AgentPermissions,
    source: string,
    target: string,
  ): Promise<FleetAgent> {
    const { restart: _, mounts = [], ...rest } = this.role(role);
    const agent = await this.#spawn(role, role, {
      ...rest,
      permissions,
      mounts: [...mounts, { source, target }],
    });
    this.#agents.push(agent);
    return agent;
  }

  agent(name: string): FleetAgent {
    const found = this.#agents.find((agent) => agent.name === name);
    if (found === undefined) throw new CloveError('NOT_FOUND', `the fleet has no agent "${name}"`);
    return found;
  }

  event(fits: (event: FleetEvent) => boolean, waiting: Waiting = {}): Promise<FleetEvent> {
    return this.#events.first(fits, waiting);
  }

  exit(agent: string, { timeoutMs = DEFAULT_WAIT_MS }: Waiting = {}): Promise<AgentExitReport> {
    return this.client.wait(this.agent(agent).id, { timeoutMs, signal: this.signal });
  }

  async send(agent: string, message: unknown): Promise<void> {
    await this.client.send(this.agent(agent).id, message, { signal: this.signal });
  }

  async broadcast(message: unknown): Promise<void> {
    const { refused } = await this.client.broadcast(message, { signal: this.signal });
    if (refused.length > 0)
      throw new CloveError('OVERLOAD', `a broadcast did not reach agents ${refused.join(', ')}`);
  }

  message(fits: (message: ReceivedMessage) => boolean, waiting: Waiting = {}): Promise<ReceivedMessage> {
    return this.#messages.first(fits, waiting);
  }

  async ask(
    agent: string,
    body: Readonly<Record<string, unknown>>,
    { timeoutMs = DEFAULT_WAIT_MS, what = `an answer of ${agent}` }: Waiting = {},
  ): Promise<{ answer: Readonly<Record<string, unknown>>; ms: number }> {
    const number = this.#nextAsk++;
    const { id } = this.agent(agent);
    const sentAtMs = monotonicMs();
    return await within<{ answer: Readonly<Record<string, unknown>>; ms: number }>(
      timeoutMs,
      what,
      this.signal,
      (resolve) => {
        this.#asked.set(number, ({ from_id, message }, atMs) => {
          // Only the one who was asked can answer.
          if (from_id === id)
            resolve({ answer: message as Readonly<Record<string, unknown>>, ms: atMs - sentAtMs });
        });
        // What went wrong with the question shows in its answer not coming.
        this.client
          .send(id, { ...body, ask: number })
          .catch((error) => this.log(`ask ${agent}: ${errorToData(error).message}`));
        return () => this.#asked.delete(number);
      },
    );
  }

  async cgroup(agent: string): Promise<CgroupFigures | null> {
    try {
      return (await this.client.call('METRICS_CGROUP', { agent_id: this.agent(agent).id })).metrics;
    } catch (error) {
      if (isCloveError(error) && error.code === 'NOT_FOUND') return null;
      throw error;
    }
  }

  until<Value>(
    condition: () => Promise<Value | null | false> | Value | null | false,
    { timeoutMs = DEFAULT_WAIT_MS, what = 'what was waited for' }: Waiting = {},
  ): Promise<Value> {
    let failed: (error: unknown) => void = () => {};
    const thrown = new Promise<never>((_, reject) => {
      failed = reject;
    });
    const held = within<Value>(timeoutMs, what, this.signal, (resolve) => {
      let stopped = false;
      let timer: NodeJS.Timeout | undefined;
      const look = async () => {
        try {
          const value = await condition();
          if (stopped) return;
          if (value === null || value === false) timer = setTimeout(look, LOOK_AGAIN_MS);
          else resolve(value);
        } catch (error) {
          failed(error);
        }
      };
      void look();
      return () => {
        stopped = true;
        clearTimeout(timer);
      };
    });
    return Promise.race([held, thrown]);
  }

  async check(
    id: string,
    asserted: string,
    observe: () => Promise<Observation> | Observation,
  ): Promise<CheckResult> {
    if (this.#checks.some((check) => check.id === id))
      throw new CloveError('CONFIG', `the check "${id}" is made twice`);
    let seen: Observation;
    try {
      seen = await observe();
    } catch (error) {
      if (this.signal.aborted) throw error;
      seen = { holds: false, observed: errorToData(error).message };
    }
    const result: CheckResult = {
      id,
      asserted,
      status: seen.holds === null ? 'not_measured' : seen.holds ? 'passed' : 'failed',
      observed: seen.observed.slice(0, MAX_EVIDENCE_CHARS),
      layer: seen.layer ?? null,
      evidence: (seen.evidence ?? []).map(({ source, text }) => ({
        source,
        text: text.slice(0, MAX_EVIDENCE_CHARS),
      })),
      atMs: this.nowMs(),
    };
    this.#checks.push(result);
    this.log(`check ${id}: ${result.status}: ${result.observed}`);
    return result;
  }

  metric(path: string, value: number | null): void {
    const steps = path.split('.');
    const last = steps.pop() as string;
    let node = this.#metrics;
    for (const step of steps) {
      node[step] ??= {};
      node = node[step] as Record<string, unknown>;
    }
    node[last] = value === null || !Number.isFinite(value) ? null : value;
  }

  fact(name: string, value: ParameterValue | null): void {
    this.#facts[name] = value;
  }

  point(series: string, unit: string, value: number, atMs = this.nowMs()): void {
    let curve = this.#series.get(series);
    if (curve === undefined) {
      curve = { unit, points: [] };
      this.#series.set(series, curve);
    }
    if (curve.points.length < MAX_POINTS) curve.points.push([atMs, value]);
  }

  mark(kind: FleetMark['kind'], text: string, agent?: string): void {
    this.#marks.push({ atMs: this.nowMs(), agent: agent ?? null, kind, text });
  }

  log(line: string): void {
    this.#onLog(line);
  }

  /** Everything that was seen, as it is kept. */
  result(activity: ActivityRecorder): TrialResult {
    return {
      metrics: this.#metrics as MetricTree,
      facts: {
        ...this.#facts,
        checksPassed: this.#checks.filter((check) => check.status === 'passed').length,
        checks: this.#checks.length,
      },
      fleet: { ...this.#record(), activity: activity.record(this.events) },
    };
  }

  #record(): FleetRecord {
    const events = this.events;
    return {
      checks: this.#checks,
      agents: this.#agents.map(({ name, role }) => {
        const { program, limits, restart } = this.#scenario.roles[role] as Role;
        return {
          name,
          role,
          program: programText(program),
          limits: Object.fromEntries(Object.entries(limits).map(([key, value]) => [key, value ?? null])),
          restartPolicy: restart?.policy ?? 'never',
          ...historyOf(name, events, this.#lastLooks.get(name) ?? null),
        };
      }),
      marks: [...this.#marks, ...marksOf(events)].sort((a, b) => a.atMs - b.atMs).slice(0, MAX_MARKS),
      series: [...this.#series].map(([name, { unit, points }]) => ({ name, unit, points })),
    };
  }

  async #spawn(name: string, roleName: string, role: Role): Promise<FleetAgent> {
    const seed = this.luck.derive(`agents/${name}`);
    const place = { seed, isProtected: this.isProtected, allowance: this.#allowance };
    const request = spawnRequestOf(name, role, place);
    const { id, pid, isolation } = await this.client.spawn(request, { signal: this.signal });
    return { id, name, role: roleName, pid, layers: isolation.layers };
  }

  async #receive(inbox: CloveClient): Promise<void> {
    try {
      for await (const message of inbox.messages()) {
        const atMs = monotonicMs();
        const body = message.message;
        const number =
          typeof body === 'object' && body !== null && 'answer' in body ? Number(body.answer) : null;
        const asked = number === null ? undefined : this.#asked.get(number);
        if (asked === undefined) this.#messages.add(message);
        else asked(message, atMs);
      }
    } catch (error) {
      this.log(`messages: ${errorToData(error).message}`);
    }
  }

  async #watch(watcher: CloveClient): Promise<void> {
    try {
      for await (const event of watcher.events()) {
        const data = (event.data ?? {}) as Readonly<Record<string, unknown>>;
        this.#events.add({
          type: event.type,
          customType: event.custom_type ?? null,
          agent: this.#nameOf(data, event.source_agent_id),
          data,
          atMs: event.timestamp - this.#startedWallMs,
        });
      }
    } catch (error) {
      this.log(`events: ${errorToData(error).message}`);
    }
  }

  #nameOf(data: Readonly<Record<string, unknown>>, sourceId: number): string | null {
    if (typeof data.name === 'string' && typeof data.agent_id === 'number') return data.name;
    const id = typeof data.agent_id === 'number' ? data.agent_id : sourceId;
    return this.#agents.find((agent) => agent.id === id)?.name ?? null;
  }
}
