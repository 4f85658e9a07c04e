import { randomBytes } from 'node:crypto';
import { chmodSync } from 'node:fs';
import path from 'node:path';
import type { Logger } from 'pino';
import { hostCapabilities, launch } from '../native/index.ts';
import type { WireServer } from '../native/types.ts';
import { createWireServer } from '../native/wire.ts';
import { EndedJobs, endedAgent, loadEndedJobs } from './agents/ended-jobs.ts';
import { Fleet } from './agents/fleet.ts';
import { loadFleet } from './agents/fleet-rows.ts';
import { Launcher } from './agents/launcher.ts';
import { OutputReader } from './agents/output.ts';
import { layersNotHere } from './agents/reduced-host.ts';
import { CodeCopies } from './agents/reload.ts';
import { restoreFleet } from './agents/restore.ts';
import { SandboxPool } from './agents/sandbox-pool.ts';
import { Supervisor } from './agents/supervisor.ts';
import { AgentTable } from './agents/table.ts';
import { isMappedUser, ownUser, UidPool } from './agents/uid-pool.ts';
import { MAX_SPARES, Zygotes } from './agents/zygotes.ts';
import { AsyncTasks } from './async/tasks.ts';
import type { AuditLog } from './audit/audit-log.ts';
import { AuditService } from './audit/service.ts';
import { openBoot } from './boot.ts';
import { DeadBoots } from './dead-boots.ts';
import { Dispatcher } from './dispatch.ts';
import { EventBus } from './events/event-bus.ts';
import { HttpClient } from './http/client.ts';
import { GrantsPolicy } from './http/grants-policy.ts';
import { Mailboxes } from './ipc/mailboxes.ts';
import { LimitWatch } from './limits/watch.ts';
import { LlmService } from './llm/service.ts';
import { FIRST_UID, lockDataDirectory, lockUidBlock, UIDS_PER_KERNEL } from './locks.ts';
import { createLog } from './log.ts';
import { Metrics } from './metrics/metrics.ts';
import {
  DEFAULT_RUN_DIRECTORY,
  type KernelOptions,
  resolveOptions,
  type UserKernelOptions,
} from './options.ts';
import { AGENT_HOME } from './permissions/levels.ts';
import { Permissions } from './permissions/permissions.ts';
import { Quotas } from './permissions/quotas.ts';
import { claimPrivateFolder } from './private-folder.ts';
import { Recorder } from './recording/recorder.ts';
import { StateReplay } from './recording/state-replay.ts';
import { StateStore } from './state/state-store.ts';
import { GroupRegistry, loadGroups } from './supervision/groups.ts';
import { SYSCALL_BY_OPCODE } from './syscalls/table.ts';
import { publishTask } from './tasks/events.ts';
import { loadTasks } from './tasks/rows.ts';
import { TaskBoard } from './tasks/task-board.ts';
import { Telemetry } from './telemetry/telemetry.ts';
import { TunnelHost } from './tunnel/host.ts';
import { loadTunnel, saveTunnel } from './tunnel/saved.ts';
import { Tunnel } from './tunnel/tunnel.ts';
import type { WorldHost, WorldHostFactory } from './worlds/host.ts';

/**
 * Of one connection, waiting for their turn in this process. NOOPs are not among them. Few: what waits while a flood is served outlives
 * the collections of V8's young generation, and the kernel would grow by what an agent keeps waiting.
 */
const REQUEST_LIMITS = { outstandingRequests: 32, outstandingBytes: 2 * 2 ** 20 };

/** After SIGKILL a tree is gone within milliseconds, unless something is stuck in the operating system. */
const UNKILLABLE_MS = 10_000;

/** What a syscall handler sees of the kernel: its parts, by name. */
export interface Kernel {
  readonly options: KernelOptions;
  /** Random name of this run of the kernel; part of every sandbox's and cgroup's name. [a-z0-9]{8} */
  readonly bootId: string;
  /** ms since the epoch. */
  readonly startedAt: number;
  readonly log: Logger;
  readonly agents: AgentTable;
  readonly supervisor: Supervisor;
  readonly groups: GroupRegistry;
  readonly limits: LimitWatch;
  readonly deadBoots: DeadBoots;
  readonly fleet: Fleet;
  readonly codeCopies: CodeCopies;
  readonly launcher: Launcher;
  readonly sandboxPool: SandboxPool;
  readonly permissions: Permissions;
  readonly quotas: Quotas;
  readonly llm: LlmService;
  readonly mailboxes: Mailboxes;
  readonly events: EventBus;
  readonly state: StateStore;
  readonly taskBoard: TaskBoard;
  readonly audit: AuditLog;
  readonly metrics: Metrics;
  readonly telemetry: Telemetry;
  readonly recorder: Recorder;
  readonly stateReplay: StateReplay;
  readonly http: HttpClient;
  readonly tunnel: Tunnel;
  /** Agents behind the tunnel's relay, as principals of this kernel. */
  readonly remotes: TunnelHost;
  readonly tasks: AsyncTasks;
  readonly dispatcher: Dispatcher;
  readonly wire: WireServer;
  /** null = whoever started it has given it none. */
  readonly worlds: WorldHost | null;
  /** Tells every part that keeps things by caller id that this one will never come back. */
  release(callerId: number): void;
}

/**
 * A part that keeps things by caller id (mailboxes, subscriptions, private state). Called once when that id will never
 * come back: an agent has ended for good, or an operator's connection has closed. Restarts do not call it.
 */
export interface KeepsByCaller {
  release(callerId: number): void;
}

/** A kernel that serves its socket. */
export interface RunningKernel {
  readonly socketPath: string;
  readonly bootId: string;
  readonly kernel: Kernel;
  /**
   * Ends all agents (at most `drainMs` by their own), then everything else: no process, socket, cgroup or folder of this
   * boot is left. Safe to call twice.
   */
  close(): Promise<void>;
}

/** What is built on top of the kernel and serves its callers all the same. */
export interface KernelExtensions {
  readonly worlds?: WorldHostFactory;
}

/** Builds the parts, wires them and serves. @throws ALREADY_RUNNING, SETUP_FAILED, CONFIG, DATA_CORRUPT, IO */
export async function createKernel(
  userOptions: UserKernelOptions = {},
  extensions: KernelExtensions = {},
): Promise<RunningKernel> {
  const options = resolveOptions(userOptions);
  const undo: (() => void | Promise<void>)[] = [];
  try {
    return await start(options, extensions, undo);
  } catch (error) {
    // Why it could not start matters more than what could not be undone.
    for (const step of undo.reverse()) await Promise.try(step).catch(() => {});
    throw error;
  }
}

async function start(
  options: KernelOptions,
  extensions: KernelExtensions,
  undo: (() => void | Promise<void>)[],
): Promise<RunningKernel> {
  const log = createLog(options.logLevel);
  // Loads the native part, or says what it lacks, before anything is made.
  log.info({ host: hostCapabilities() }, 'kernel is starting');
  const userId = process.geteuid?.() ?? 0;
  claimPrivateFolder(options.dataDirectory);
  claimPrivateFolder(options.runDirectory, true);
  const dataLock = lockDataDirectory(options.dataDirectory);
  undo.push(() => dataLock.release());
  const hasUsers = userId === 0 && isMappedUser(FIRST_UID);
  const uidBlock = hasUsers ? lockUidBlock(path.join(DEFAULT_RUN_DIRECTORY, 'uids')) : null;
  undo.push(() => uidBlock?.release());
  const deadBoots = new DeadBoots(options.runDirectory, log);
  undo.push(() => deadBoots.close());
  await deadBoots.clear();
  const boot = openBoot(options.runDirectory, () => randomBytes(4).toString('hex'), log);
  const bootId = boot.id;
  undo.push(() => boot.remove());
  // Agents on the host's own paths go through these to their sockets; what lies in them stays closed.
  if (hasUsers && layersNotHere().has('mntns'))
    for (const folder of [options.runDirectory, boot.directory]) chmodSync(folder, 0o711);
  const sandboxPool = new SandboxPool(boot.cgroupParent);
  undo.push(() => sandboxPool.close());

  const agents = new AgentTable();
  const auditing = AuditService.open({
    kernel: options,
    bootId,
    log,
    worldTimeMsOf: (callerId) => worlds?.joinedBy(callerId)?.nowMs() ?? null,
  });
  undo.push(() => auditing.close());
  const events = new EventBus({ onPublish: (...event) => auditing.onEvent(...event) });
  const mailboxes = new Mailboxes();
  const rows = loadFleet(auditing.databasePath, options.onRestart);
  const fleet = new Fleet({
    store: auditing.store,
    rows,
    folder: path.join(options.dataDirectory, 'agents'),
    authorityOf: (id) => {
      const stored = { permissions: permissions.stored(id), quotas: quotas.stored(id) };
      return stored.permissions === null || stored.quotas === null ? null : stored;
    },
    namesOf: (id) => mailboxes.namesOf(id),
  });
  const jobs = loadEndedJobs(auditing.databasePath, options.onRestart);
  const endedJobs = new EndedJobs(auditing.store, jobs);
  for (const job of jobs) agents.remember(endedAgent(job));
  agents.continueAt(rows.usedId + 1);
  const state = StateStore.open({
    databasePath: auditing.databasePath,
    store: auditing.store,
    outlivesKernel: (id) => fleet.has(id),
  });
  const taskBoard = new TaskBoard({
    store: auditing.store,
    rows: loadTasks(auditing.databasePath),
    outlivesKernel: (id) => fleet.has(id),
    onChanged: (task) => publishTask(events, task),
  });
  undo.push(() => taskBoard.close());
  undo.push(() => state.close());
  const metrics = new Metrics({ agents, cgroupParent: boot.cgroupParent });
  const permissions = new Permissions({
    cwdOf: (agentId) => agents.get(agentId)?.plan.sandbox.cwd ?? AGENT_HOME,
    agentOf: (idOrName) => agents.find(idOrName),
    answeredInWorld: (callerId, url) => worlds?.joinedBy(callerId)?.interceptsUrl(url) === true,
  });
  const quotas = new Quotas({ stateBytesOf: (callerId) => state.bytesOf(callerId) });
  const llm = new LlmService({
    llm: options.llm,
    budget: { permissions, quotas },
    countersOf: (callerId) => agents.get(callerId)?.counters ?? null,
    env: process.env,
  });
  const tasks = new AsyncTasks();
  const output = new OutputReader();
  const users =
    uidBlock === null
      ? ownUser(userId === 0 ? FIRST_UID : userId)
      : new UidPool(uidBlock.firstUid, UIDS_PER_KERNEL - 1, deadBoots.users);
  const { directory: bootDirectory, cgroupParent } = boot;
  const zygotes = new Zygotes({
    bootId,
    bootDirectory,
    cgroupParent,
    users,
    log,
    launch,
    spares: Math.min(options.sandboxPool, MAX_SPARES),
  });
  undo.push(() => zygotes.close());
  const launcher = new Launcher({
    bootId,
    bootDirectory: boot.directory,
    interpreterFolder: path.join(options.dataDirectory, 'interpreters'),
    cgroupParent: boot.cgroupParent,
    users,
    output,
    wire: () => wire,
    launch,
    sandboxPool,
    zygotes,
  });
  const remotes = new TunnelHost(() => kernel, boot.directory);
  const tunnel = new Tunnel({
    options: options.tunnel,
    host: remotes,
    events: remotes,
    saved: loadTunnel(auditing.databasePath),
    save: (saved) => saveTunnel(auditing.store, saved),
  });
  const codeCopies = new CodeCopies((id) => launcher.stagingFolderOf(id));
  const release = (callerId: number): void => {
    const parts = [
      tasks,
      taskBoard,
      codeCopies,
      mailboxes,
      events,
      state,
      metrics,
      permissions,
      quotas,
      llm,
      ...(worlds === null ? [] : [worlds]),
      tunnel,
    ] satisfies KeepsByCaller[];
    for (const part of parts) part.release(callerId);
  };
  const groups = new GroupRegistry({
    store: auditing.store,
    rows: loadGroups(auditing.databasePath, options.onRestart),
  });
  groups.tree.completed(jobs.map(({ name }) => name));
  const supervisor = new Supervisor({
    groups,
    callsOf: (agent) => {
      dispatcher.collectNativeCountsOf(agent.id);
      return agent.counters.syscalls;
    },
    agents,
    launcher,
    events,
    mailboxes,
    fleet,
    endedJobs,
    log,
    maxAgents: options.maxAgents,
    onStarted: (agent) => {
      limits.started(agent);
      recorder.agentStarted(agent);
      worlds?.agentStarted(agent);
    },
    onEnded: (agent) => {
      if (agent.lastExit !== null) limits.ended(agent, agent.lastExit);
      recorder.agentEnded(agent);
      state.endSession(agent.id);
      tasks.release(agent.id);
    },
    onRetired: (agent) => release(agent.id),
  });
  const limits = new LimitWatch({
    cgroupParent: boot.cgroupParent,
    warn: (agent, warning) => {
      const data = { agent_id: agent.id, name: agent.name, ...warning };
      // Told to operators, and to the agent itself.
      events.publish('RESOURCE_WARNING', data, 0, 'operators');
      events.publish('RESOURCE_WARNING', data, 0, agent.id);
    },
  });
  undo.push(() => limits.close());
  const dispatcher = new Dispatcher({
    kernel: () => kernel,
    table: SYSCALL_BY_OPCODE,
    checkAnswers: options.checkAnswers,
  });
  const recorder = new Recorder({
    folder: path.join(options.dataDirectory, 'recordings'),
    table: SYSCALL_BY_OPCODE,
    liveAgents: () => agents.list(),
    attach: (tap) => {
      dispatcher.tap = tap;
    },
    onFailure: (error) => log.error({ err: error }, 'the recording pauses: its file cannot be written'),
  });
  const telemetry = new Telemetry({ options: options.telemetry, kernel: () => kernel, bootId, log });
  dispatcher.observer = telemetry.observer;
  const wire = createWireServer(
    {
      onOpen: (connection, principal, peer) => dispatcher.open(connection, principal, peer),
      onRequests: (requests) => dispatcher.serve(requests),
      onClose: (connection) => dispatcher.close(connection),
    },
    { limits: REQUEST_LIMITS },
  );
  undo.push(() => wire.close());
  const worlds = extensions.worlds?.(() => kernel) ?? null;
  undo.push(() => worlds?.close());
  const kernel: Kernel = {
    options,
    bootId,
    startedAt: Date.now(),
    log,
    agents,
    supervisor,
    groups,
    limits,
    deadBoots,
    fleet,
    codeCopies,
    launcher,
    sandboxPool,
    permissions,
    quotas,
    llm,
    mailboxes,
    events,
    state,
    taskBoard,
    audit: auditing.audit,
    metrics,
    telemetry,
    recorder,
    stateReplay: new StateReplay(),
    http: new HttpClient({ policy: new GrantsPolicy(permissions) }),
    tunnel,
    remotes,
    tasks,
    dispatcher,
    wire,
    worlds,
    release,
  };
  undo.push(() => telemetry.close());
  await telemetry.open();
  wire.listen(options.socketPath, {
    principal: 0,
    mode: options.operatorUids.length > 0 ? 0o666 : 0o600,
    uid: null,
    gid: null,
    // Root can do to a kernel whatever it likes anyway.
    allowUids: [...new Set([userId, 0, ...options.operatorUids])],
    maxConnections: options.maxConnections,
  });
  auditing.started();
  if (options.sandbox !== 'off') sandboxPool.open(options.sandboxPool, log);
  if (rows.forgotten.length > 0) {
    const details = { agents: rows.forgotten };
    void auditing.audit.event(
      { category: 'AGENT_LIFECYCLE', type: 'AGENTS_FORGOTTEN', success: true, details },
      true,
    );
  }
  restoreFleet(rows.agents, {
    agents,
    fleet,
    supervisor,
    launcher,
    mailboxes,
    permissions,
    quotas,
    log,
    sandboxing: options.sandbox,
  });
  if (options.tunnel.connectAtStart) tunnel.connectSoon();
  deadBoots.clearOn();
  const { provider, model } = options.llm;
  log.info(
    { socket: options.socketPath, pid: process.pid, sandbox: options.sandbox, llm: { provider, model } },
    'kernel is ready',
  );
  return new Running(kernel, [
    // What agents have used so far, too.
    () => fleet.saveAuthority(),
    () => tunnel.close(),
    () => endAgents(supervisor, options.drainMs, log),
    () => remotes.close(),
    () => zygotes.close(),
    () => limits.close(),
    () => launcher.shutDown(),
    () => fleet.close(),
    () => dispatcher.closeAll(),
    () => worlds?.close(),
    () => recorder.stop().then(() => {}),
    () => wire.close(),
    () => telemetry.close(),
    () => output.close(),
    () => taskBoard.close(),
    () => state.close(),
    () => auditing.stopped(),
    () => auditing.close(),
    () => sandboxPool.close(),
    () => deadBoots.close(),
    () => boot.remove(),
    () => uidBlock?.release(),
    () => dataLock.release(),
  ]);
}

/** A process that even SIGKILL does not end (in a system call that hangs) must not keep the kernel from stopping. */
async function endAgents(supervisor: Supervisor, drainMs: number, log: Logger): Promise<void> {
  const cut = Promise.withResolvers<'late'>();
  const timer = setTimeout(() => cut.resolve('late'), drainMs + UNKILLABLE_MS);
  const ended = await Promise.race([supervisor.close(drainMs), cut.promise]);
  clearTimeout(timer);
  if (ended === 'late')
    log.error({ agents: supervisor.liveIds() }, 'agents that cannot be killed are left behind');
}

class Running implements RunningKernel {
  readonly kernel: Kernel;
  readonly socketPath: string;
  readonly bootId: string;
  readonly #steps: readonly (() => void | Promise<void>)[];
  #closed: Promise<void> | null = null;

  constructor(kernel: Kernel, steps: readonly (() => void | Promise<void>)[]) {
    this.kernel = kernel;
    this.socketPath = kernel.options.socketPath;
    this.bootId = kernel.bootId;
    this.#steps = steps;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.kernel.log.info('kernel is stopping');
    const errors: unknown[] = [];
    for (const step of this.#steps) {
      // What one part cannot give back must not keep the others from it.
      try {
        await step();
      } catch (error) {
        this.kernel.log.error({ err: error }, 'fault while stopping');
        errors.push(error);
      }
    }
    this.kernel.log.info('kernel has stopped');
    if (errors.length > 0) throw errors[0];
  }
}
