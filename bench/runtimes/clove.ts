/**
 * Runtime `clove`: every attempt is an agent in a sandbox of its own, under a private kernel or one that runs already. The bench
 * is an ordinary client: it spawns, waits, and receives what the agent sends to its parent.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { CloveError, isCloveError } from '../../errors/index.ts';
import type { RunningKernel } from '../../kernel/index.ts';
import { ensureZygote, hostCapabilities } from '../../native/index.ts';
import type { LayerReport } from '../../native/types.ts';
import { type CloveClient, connect, type SyscallRequest } from '../../sdk/typescript/index.ts';
import { monotonicMs } from '../worker/execute.ts';
import type { AttemptOrder, AttemptReport } from '../worker/order.ts';
import { type AgentMount, nodeAgent, pythonAgent } from './agent-files.ts';
import { LEAK_BEYOND_LIMIT_BYTES, workerOf } from './child.ts';
import { pythonTemplate, type TrialTemplate, trialTemplate } from './clove-template.ts';
import { endingOf, infrastructureEnding } from './ending.ts';
import type { RuntimeChoice } from './index.ts';
import { allowanceOf, type IsolationStrength, reducedNotice, sandboxingOf } from './isolation.ts';
import type { AttemptEnding, AttemptRequest, Runtime, RuntimeContext } from './runtime.ts';

/**
 * The longest period there is: a limit of one core then lets the compiler and collector threads of a trial that has just begun run
 * beside it for a moment, as long as it uses no more than its share over a second.
 */
const CPU_PERIOD_US = 1_000_000;
/** How long loading may take on a busy machine. */
const TEMPLATE_START_MS = 180_000;
/** A template loads and warms up what trials use one at a time. */
const TEMPLATE_MEMORY_BYTES = 512 * 2 ** 20;

export async function createCloveRuntime(context: RuntimeContext, choice: RuntimeChoice): Promise<Runtime> {
  const limits = { limits: limitsOf(context), ...allowanceOf(choice.isolation) };
  // Where no namespaces are to be had, and the caller goes on without: agents have the host's own paths.
  const isOnHostPaths = choice.isolation === 'least' && hostCapabilities().namespaces === 'none';
  const scratch = isOnHostPaths ? null : context.scratchDirectory;
  const [booted, prepared] = await Promise.allSettled([
    choice.kernelSocket === null ? bootKernel(context, choice.isolation) : null,
    context.program === undefined
      ? nodeAgent(context.worker, context.readOnlyPaths, {
          compileCache: context.compileCacheDirectory,
          scratch,
        })
      : pythonAgent(context.program, context.readOnlyPaths, scratch),
  ]);
  const kernel = booted.status === 'fulfilled' ? booted.value : null;
  // Both are over by now: nothing goes on working in a folder that is about to be removed.
  if (booted.status === 'rejected') throw booted.reason;
  if (prepared.status === 'rejected') {
    await kernel?.close();
    throw prepared.reason;
  }
  const program = prepared.value;
  const socketPath = kernel?.socketPath ?? (choice.kernelSocket as string);
  // One client a slot: answers of a connection come in order, so that nobody waits behind another's spawn.
  const clients = new Map<number, Promise<CloveClient>>();
  const clientOf = (slot: number) => {
    let client = clients.get(slot);
    if (client === undefined) {
      client = connect({ socketPath, reconnect: false });
      clients.set(slot, client);
    }
    return client;
  };
  let observer: CloveClient;
  let isolation: readonly LayerReport[];
  let template: TrialTemplate | null = null;
  try {
    observer = await connect({ socketPath });
    await requireSandbox(observer, socketPath);
    // A kernel of our own that is not root cannot have templates: nothing is compiled for them then.
    const hasTemplates = (choice.kernelSocket !== null || process.geteuid?.() === 0) && !isOnHostPaths;
    if (choice.zygote && hasTemplates) template = await startTemplate(observer, program.mounts, context);
    isolation = await probe(observer, program.mounts, probeCommand(context), limits, template);
  } catch (error) {
    await kernel?.close();
    throw error;
  }
  const reduced = reducedNotice(isolation);
  if (reduced !== null) context.onNotice(reduced);
  let memoryIsCounted = countsMemory(isolation);
  // Two benches may share a kernel, and names are unique in it.
  const suffix = randomBytes(3).toString('hex');
  const live = new Set<number>();

  function spawnRequest(request: AttemptRequest): SyscallRequest<'SPAWN'> {
    const { memoryBytes, timeoutMs } = context.limits;
    const order: AttemptOrder = {
      worker: workerOf(context),
      trial: request.trial,
      attempt: request.attempt,
      fault: request.fault,
      leakCapBytes: memoryBytes + LEAK_BEYOND_LIMIT_BYTES,
    };
    return {
      name: `${request.trial.id}.${request.attempt}.${suffix}`,
      ...(template === null ? program.request : template.request),
      stdin: JSON.stringify(order),
      mounts: [...program.mounts],
      ...limits,
      timeout_ms: Math.ceil(timeoutMs),
      restart_policy: 'never',
    };
  }

  async function start(request: AttemptRequest): Promise<AttemptEnding> {
    const startedAtMs = monotonicMs();
    const client = await clientOf(request.slot);
    const spawned = await client.spawn(spawnRequest(request));
    noteIsolation(spawned.isolation.layers);
    if (spawned.template?.used === false) {
      context.onNotice(`Not every trial was forked from the template: ${spawned.template.reason}.`);
    }
    live.add(spawned.id);
    let interrupted = false;
    const onAbort = () => {
      interrupted = true;
      // NOT_FOUND: it has ended by itself meanwhile.
      client.kill(spawned.id, { graceMs: 0 }).catch(() => {});
    };
    request.signal.addEventListener('abort', onAbort, { once: true });
    if (request.signal.aborted) onAbort();
    try {
      const exit = await client.wait(spawned.id);
      const endedAtMs = monotonicMs();
      const report = await receiveReport(client, spawned.id);
      return endingOf({
        startedAtMs,
        endedAtMs,
        report,
        stopped: interrupted ? 'interrupted' : exit.reason === 'timeout' ? 'timeout' : null,
        oom: exit.reason === 'oom',
        exitCode: exit.exit_code,
        signal: exit.signal,
        logTail: exit.log_tail,
        observed: {
          cpuMs: (exit.usage.cpu_user_us + exit.usage.cpu_system_us) / 1000,
          memoryPeakBytes: exit.usage.memory_peak_bytes,
          memorySource: memoryIsCounted ? 'cgroup' : 'maxrss',
        },
      });
    } finally {
      live.delete(spawned.id);
      request.signal.removeEventListener('abort', onAbort);
    }
  }

  function noteIsolation(layers: readonly LayerReport[]): void {
    memoryIsCounted = countsMemory(layers);
    const states = (all: readonly LayerReport[]) => all.map((one) => `${one.layer}=${one.state}`).join(' ');
    if (states(layers) !== states(isolation))
      context.onNotice(
        'Not every trial ran under the same protection: the isolation report is that of the sandbox tried before them.',
      );
  }

  async function memoryBytes(): Promise<number | null> {
    if (live.size === 0) return 0;
    try {
      const agents = await observer.list();
      return agents.filter((agent) => live.has(agent.id)).reduce((sum, agent) => sum + agent.memory, 0);
    } catch {
      return null;
    }
  }

  return {
    name: 'clove',
    isolation,
    async start(request) {
      const startedAtMs = monotonicMs();
      try {
        return await start(request);
      } catch (error) {
        if (isCloveError(error) && error.code === 'SANDBOX_UNAVAILABLE') context.onNotice(error.message);
        // The connection may be what failed: the next attempt on this slot makes a new one.
        const client = clients.get(request.slot);
        clients.delete(request.slot);
        client?.then((open) => open.close()).catch(() => {});
        return infrastructureEnding(error, monotonicMs() - startedAtMs);
      }
    },
    memoryBytes,
    async close() {
      await observer.close();
      for (const client of clients.values())
        await client.then(
          (open) => open.close(),
          () => {},
        );
      await kernel?.close();
    },
  };
}

function limitsOf({ limits }: RuntimeContext): NonNullable<SyscallRequest<'SPAWN'>['limits']> {
  return {
    memory: limits.memoryBytes,
    cpu_quota: Math.round(limits.cpu * CPU_PERIOD_US),
    cpu_period: CPU_PERIOD_US,
    max_pids: limits.maxPids,
  };
}

/** What is called `clove` in a report ran in sandboxes. @throws CONFIG */
async function requireSandbox(client: CloveClient, socketPath: string): Promise<void> {
  if ((await client.hello()).features.sandbox === true) return;
  throw new CloveError('CONFIG', `the kernel at ${socketPath} runs agents without sandboxes (--no-sandbox)`, {
    hint: 'Start it without --no-sandbox, or measure plain processes: --runtime process.',
  });
}

/** The template that trials are forked from, ready; null where it cannot be had, and the report says why. */
async function startTemplate(
  client: CloveClient,
  mounts: readonly AgentMount[],
  context: RuntimeContext,
): Promise<TrialTemplate | null> {
  const startedAtMs = monotonicMs();
  const { program, worker, scratchDirectory } = context;
  const memoryBytes = Math.max(context.limits.memoryBytes, TEMPLATE_MEMORY_BYTES);
  const wanted =
    program === undefined
      ? await trialTemplate(worker, mounts, scratchDirectory, memoryBytes)
      : await pythonTemplate(program, mounts, scratchDirectory, memoryBytes);
  const without = (reason: string | null | undefined): null => {
    context.onNotice(
      `Trials are started as programs of their own, not forked from a template: ${reason ?? 'the kernel does not say why'}.`,
    );
    return null;
  };
  try {
    // Compiles on the first run, and takes its time on a busy machine: not within a call that has a limit.
    await ensureZygote();
    const call = { timeoutMs: TEMPLATE_START_MS };
    const spawned = await client.spawn({ ...wanted.request, script: wanted.probe }, call);
    await client.wait(spawned.id, call);
    if (spawned.template?.used !== true) return without(spawned.template?.reason);
  } catch (error) {
    if (isCloveError(error) && error.code === 'CANCELLED') throw error;
    // Trials do not need it; whether there are sandboxes at all shows next.
    return without(error instanceof Error ? error.message : String(error));
  }
  const seconds = ((monotonicMs() - startedAtMs) / 1000).toFixed(1);
  context.onNotice(
    `Runtime clove forks trials from a template that has loaded and warmed up the worker: ready in ${seconds} s, before the first trial.`,
    true,
  );
  return wanted;
}

/** One sandbox like those of the trials: when it cannot be had, that is known before any trial. @throws SANDBOX_UNAVAILABLE … */
async function probe(
  client: CloveClient,
  mounts: readonly AgentMount[],
  command: readonly string[],
  limits: Pick<SyscallRequest<'SPAWN'>, 'limits' | 'isolation'>,
  template: TrialTemplate | null,
): Promise<readonly LayerReport[]> {
  const { id, isolation } = await client.spawn({
    ...(template === null ? { command: [...command] } : { ...template.request, script: template.probe }),
    mounts: [...mounts],
    ...limits,
  });
  const { reason, exit_code, log_tail } = await client.wait(id);
  if (reason !== 'exited' || exit_code !== 0)
    throw new CloveError(
      'SANDBOX_UNAVAILABLE',
      `a program in a sandbox ended with ${exit_code ?? reason}: ${log_tail}`,
    );
  return isolation.layers;
}

/** Something short that a trial needs, too. */
function probeCommand({ program }: RuntimeContext): readonly string[] {
  return program === undefined ? [process.execPath, '--version'] : ['/bin/true'];
}

function countsMemory(layers: readonly LayerReport[]): boolean {
  return layers.some((one) => one.layer === 'mem' && one.state === 'on');
}

/** The agent has ended, and its message came before that: what is not there now never comes. */
async function receiveReport(client: CloveClient, agentId: number): Promise<AttemptReport | null> {
  for (;;) {
    const messages = await client.receive({ max: 100 });
    if (messages.length === 0) return null;
    // Others could write to this mailbox too; only the agent itself speaks for its trial.
    const own = messages.find((message) => message.from_id === agentId);
    if (own !== undefined) return own.message as unknown as AttemptReport;
  }
}

async function bootKernel(context: RuntimeContext, strength: IsolationStrength): Promise<RunningKernel> {
  const { createKernel } = await import('../../kernel/index.ts');
  return await createKernel({
    socketPath: join(context.scratchDirectory, 'k.sock'),
    dataDirectory: join(context.scratchDirectory, 'data'),
    sandbox: sandboxingOf(strength),
    logLevel: 'error',
    drainMs: 0,
    // Per slot: one connection for its calls and one that waits, and the agent's own.
    maxConnections: Math.max(1024, context.parallel * 4 + 64),
  });
}
