/**
 * Runs trials that are fleets: a kernel of its own for each, the agents in it, the scenario's oracle beside it. Under `clove` every
 * agent has its sandbox and its limits; under `process` it has neither, to show what the checks are worth.
 */
import { chmod, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CloveError, errorToData } from '../../errors/index.ts';
import { createKernel, type RunningKernel } from '../../kernel/index.ts';
import { observersAsOne } from '../../kernel/telemetry/observer.ts';
import { ensureNative } from '../../native/index.ts';
import type { LayerReport } from '../../native/types.ts';
import { connect } from '../../sdk/typescript/index.ts';
import { lazyWorldHost } from '../../worlds/lazy.ts';
import { Luck } from '../../worlds/luck/streams.ts';
import { emptyUsage, infrastructureEnding, timeoutError } from '../runtimes/ending.ts';
import { allowanceOf, type IsolationStrength, reducedNotice, sandboxingOf } from '../runtimes/isolation.ts';
import type { AttemptEnding, AttemptRequest, Runtime, RuntimeContext } from '../runtimes/runtime.ts';
import type { AttemptUsage, TrialResult } from '../types.ts';
import { monotonicMs, tailLog } from '../worker/execute.ts';
import { ActivityRecorder, entriesPerTrial } from './activity.ts';
import { FleetRun, ORACLE } from './fleet.ts';
import type { FleetScenario, Outside } from './types.ts';

const CLOSE_MS = 5000;

/** @throws CONFIG when the scenario may not run this way */
export function createFleetRuntime<Facts>(
  name: 'clove' | 'process',
  scenario: FleetScenario<Facts>,
  context: Pick<RuntimeContext, 'limits' | 'scratchDirectory' | 'trials' | 'onNotice'>,
  strength: IsolationStrength = 'reduced',
): Runtime {
  const isProtected = name === 'clove';
  if (!isProtected && scenario.harmlessUnprotected !== true)
    throw new CloveError('CONFIG', `the agents of ${scenario.name} may only run protected`, {
      hint: 'A scenario whose agents do no harm without walls and limits says so with harmlessUnprotected: true.',
    });
  // What a trial may take is not spent on compiling, which may take minutes where nothing is compiled yet.
  if (isProtected) ensureNative({ onProgress: (line) => process.stderr.write(`clove: ${line}, once\n`) });
  const live = new Map<number, FleetRun<Facts>>();
  let isolation: readonly LayerReport[] = [];
  let count = 0;

  async function start({ trial, signal }: AttemptRequest): Promise<AttemptEnding> {
    const startedAtMs = monotonicMs();
    const startedWallMs = Date.now();
    const number = ++count;
    const folder = join(context.scratchDirectory, `fleet-${number}`);
    const over = new AbortController();
    const timeout = new CloveError('TIMEOUT', 'the budget of time is spent');
    const timer = setTimeout(() => over.abort(timeout), context.limits.timeoutMs);
    const onAbort = () => over.abort(new CloveError('CANCELLED', 'the run was stopped'));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const tail = tailLog();
    const activity = new ActivityRecorder({
      nowMs: () => monotonicMs() - startedAtMs,
      nameOfOperator: ORACLE,
      maxEntries: entriesPerTrial(context.trials),
    });
    const site = {
      params: trial.params,
      seed: trial.seed,
      luck: new Luck(trial.seed),
      folder: join(folder, 'site'),
      isProtected,
    };
    let outside: Outside<Facts> | null = null;
    let kernel: RunningKernel | null = null;
    let fleet: FleetRun<Facts> | null = null;
    let begunAtMs: number | null = null;
    let failure: unknown = null;
    try {
      await mkdir(site.folder, { recursive: true });
      for (const path of [context.scratchDirectory, folder, site.folder]) await chmod(path, 0o755);
      outside = (await scenario.outside?.(site)) ?? null;
      kernel = await createKernel(
        {
          socketPath: join(folder, 'k.sock'),
          dataDirectory: join(folder, 'data'),
          sandbox: sandboxingOf(strength),
          logLevel: 'silent',
          drainMs: 0,
          ...(outside?.llm === undefined ? {} : { llm: outside.llm }),
        },
        { worlds: lazyWorldHost() },
      );
      const { dispatcher } = kernel.kernel;
      dispatcher.observer = observersAsOne(
        [dispatcher.observer, activity].filter((observer) => observer !== null),
      );
      const { socketPath } = kernel;
      const [client, inbox, watcher] = await Promise.all([
        connect({ socketPath, reconnect: false }),
        connect({ socketPath, reconnect: false }),
        connect({ socketPath, reconnect: false }),
      ]);
      fleet = new FleetRun(
        scenario,
        { ...site, facts: outside?.facts as Facts },
        { client, inbox, watcher },
        {
          allowance: allowanceOf(strength),
          signal: over.signal,
          startedAtMs,
          startedWallMs,
          onLog: tail.log,
        },
      );
      live.set(number, fleet);
      await fleet.listen();
      begunAtMs = monotonicMs();
      await untilOver(scenario.oracle(fleet), over.signal);
    } catch (error) {
      failure = error;
    }
    const endedAtMs = monotonicMs();
    try {
      await fleet?.settle();
      if (kernel !== null) await activity.settle(kernel.kernel);
      // Of the first agent there was.
      if (isolation.length === 0) {
        isolation = fleet?.agents[0]?.layers ?? [];
        const notice = isProtected ? reducedNotice(isolation) : null;
        if (notice !== null) context.onNotice(notice);
      }
    } finally {
      live.delete(number);
      over.abort(new CloveError('CANCELLED', 'the trial is over'));
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      await kernel?.close();
      if (!(await isClosed(outside)))
        context.onNotice(`What ${scenario.name} set up beside its fleet did not end within ${CLOSE_MS} ms.`);
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    }
    const result = fleet?.result(activity) ?? null;
    const usage: AttemptUsage = {
      ...emptyUsage(endedAtMs - startedAtMs),
      startupMs: begunAtMs === null ? null : begunAtMs - startedAtMs,
      computeMs: begunAtMs === null ? null : endedAtMs - begunAtMs,
      ...usageOf(result),
    };
    const shared = { exitCode: null, signal: null, usage, logTail: tail.text() };
    if (failure === null) return { ...shared, end: 'completed', error: null, result };
    if (signal.aborted) return { ...shared, end: 'interrupted', error: null, result: null };
    tail.log(failure instanceof Error ? (failure.stack ?? failure.message) : String(failure));
    if (over.signal.reason === timeout)
      return { ...shared, logTail: tail.text(), end: 'timeout', error: timeoutError(usage.wallMs), result };
    // Before the oracle had its say nothing was tried that could have failed by itself.
    if (begunAtMs === null) return { ...infrastructureEnding(failure, usage.wallMs), logTail: tail.text() };
    const error = { ...errorToData(failure), code: 'TRIAL_FAILED' as const };
    return { ...shared, logTail: tail.text(), end: 'error', error, result };
  }

  return {
    name,
    get isolation() {
      return isolation;
    },
    start: (request) => start(request).catch((error: unknown) => infrastructureEnding(error, 0)),
    async memoryBytes() {
      try {
        const lists = await Promise.all([...live.values()].map((fleet) => fleet.client.list()));
        return lists.flat().reduce((sum, agent) => sum + agent.memory, 0);
      } catch {
        return null;
      }
    },
    close: async () => {},
  };
}

/** False: it takes longer than anybody should wait. */
async function isClosed(outside: Outside<unknown> | null): Promise<boolean> {
  const timer = Promise.withResolvers<false>();
  const timeout = setTimeout(() => timer.resolve(false), CLOSE_MS);
  try {
    return await Promise.race([Promise.resolve(outside?.close?.()).then(() => true), timer.promise]);
  } finally {
    clearTimeout(timeout);
  }
}

/** An oracle that does not listen to its signal is left behind. */
function untilOver(oracle: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    oracle.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function usageOf(
  result: TrialResult | null,
): Pick<AttemptUsage, 'cpuMs' | 'memoryPeakBytes' | 'memorySource'> {
  const agents = result?.fleet?.agents ?? [];
  const peaks = agents.flatMap((agent) => agent.memoryPeakBytes ?? []);
  return {
    cpuMs: agents.reduce((sum, agent) => sum + (agent.cpuMs ?? 0), 0),
    // Peaks of different agents need not fall together: this is the most it can have been, for those that ended.
    memoryPeakBytes: peaks.length === 0 ? null : peaks.reduce((sum, peak) => sum + peak, 0),
    memorySource: peaks.length === 0 ? null : 'cgroup',
  };
}
