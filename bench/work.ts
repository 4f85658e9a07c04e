/** Works off the trials of a run that have no outcome yet, runtime by runtime in turns. */
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { Admission, type Refusal, slotsBesideOthers } from './admission.ts';
import type { BenchListener } from './events.ts';
import type { FleetScenario } from './fleet/types.ts';
import { startSampler } from './measure/sampler.ts';
import { RuntimeProgress } from './progress.ts';
import type { Guardian } from './runtimes/guardian.ts';
import { createRuntime } from './runtimes/index.ts';
import type { IsolationStrength } from './runtimes/isolation.ts';
import type { Runtime } from './runtimes/runtime.ts';
import type { PythonProgram } from './scenario.ts';
import { runSegment, splitBlocks } from './scheduler.ts';
import type { RunStore } from './store/store.ts';
import type { RuntimeName, Trial } from './types.ts';

export interface WorkOptions {
  readonly worker: URL;
  readonly fleet: FleetScenario | undefined;
  readonly program: PythonProgram | undefined;
  readonly readOnlyPaths: readonly string[];
  readonly kernelSocket: string | null;
  readonly zygote: boolean;
  readonly isolation: IsolationStrength;
  readonly signal: AbortSignal;
  readonly resumed: boolean;
  /** Run clock = performance.now() + this. */
  readonly clockOffsetMs: number;
  readonly scratchDirectory: string;
  readonly guardian: Guardian;
  readonly listener: BenchListener;
}

/** Resolves to whether every trial has its outcome on every runtime. */
export async function workOn(store: RunStore, options: WorkOptions): Promise<boolean> {
  const { definition, trials, attempts, segments } = store.records();
  const { runtimes, maxAttempts } = definition;
  const { listener, signal } = options;
  const nowMs = () => performance.now() + options.clockOffsetMs;
  const progress = new Map(
    runtimes.map((runtime) => [runtime, new RuntimeProgress(runtime, trials, attempts, maxAttempts)]),
  );
  for (const segment of segments)
    progress.get(segment.runtime)?.addWall(segment.lastMs - segment.startedAtMs);
  const notice = (text: string, isRemark = false) => {
    const known = store.fact('notices');
    if (known.includes(text)) return;
    store.putFact('notices', [...known, text]);
    listener({ kind: 'notice', text, isRemark });
  };
  const when = options.resumed ? 'when the run was resumed' : 'when the run began';
  const [load = 0] = loadavg();
  if (load > definition.machine.cores / 2)
    notice(`The machine was busy ${when} (load ${load.toFixed(1)} on ${definition.machine.cores} cores).`);

  let parallel = definition.parallel;
  if (definition.adaptive) {
    const room = await slotsBesideOthers(parallel, definition.machine.cores);
    if (room.slots < parallel)
      notice(
        `Others kept ${room.foreignCores.toFixed(1)} cores busy ${when}: ${room.slots} of ${parallel} slots were used.`,
      );
    parallel = room.slots;
  }

  const blocks = splitBlocks(trials, definition.blocks);
  listener({
    kind: 'run',
    runId: definition.runId,
    runDirectory: store.directory,
    scenario: definition.scenario,
    trials: trials.length,
    runtimes,
    parallel,
    blocks: blocks.length,
    resumed: options.resumed,
    finished: [...progress.values()].reduce((sum, one) => sum + one.finished, 0),
    provenance: definition.provenance,
  });

  const open = new Map<RuntimeName, Runtime>();
  const openRuntime = async (name: RuntimeName): Promise<void> => {
    const startedAtMs = performance.now();
    const runtime = await createRuntime(
      name,
      {
        worker: options.worker,
        fleet: options.fleet,
        program: options.program,
        limits: definition.limits,
        parallel,
        trials: definition.shard?.trials ?? trials.length,
        readOnlyPaths: options.readOnlyPaths,
        compileCacheDirectory: join(definition.scenarioOptions.cacheDirectory, 'compile-cache'),
        scratchDirectory: options.scratchDirectory,
        guard: options.guardian,
        onHostCrash: (reason) => {
          store.hostCrashed({ runtime: name, atMs: nowMs(), reason });
          listener({ kind: 'host-crash', runtime: name, reason });
        },
        onNotice: notice,
      },
      { kernelSocket: options.kernelSocket, zygote: options.zygote, isolation: options.isolation },
    );
    open.set(name, runtime);
    const boots = store.fact('boots');
    store.putFact('boots', { ...boots, [name]: (boots[name] ?? 0) + performance.now() - startedAtMs });
  };

  try {
    for (const name of runtimes) if (progress.get(name)?.finished !== trials.length) await openRuntime(name);
    for (const [index, block] of blocks.entries()) {
      // Each runtime goes first as often as any other, so that a drift of the machine favours none.
      const order = runtimes.map((_, place) => runtimes[(place + index) % runtimes.length] as RuntimeName);
      for (const name of order) {
        const own = progress.get(name) as RuntimeProgress;
        const left = block.filter((trial) => own.open(trial));
        if (signal.aborted) return false;
        if (left.length === 0) continue;
        listener({
          kind: 'segment',
          runtime: name,
          block: index,
          blocks: blocks.length,
          trials: left.length,
        });
        await runBlock(name, index, left, own);
      }
    }
  } finally {
    await Promise.all([...open.values()].map((runtime) => runtime.close()));
  }
  return [...progress.values()].every((one) => one.finished === trials.length);

  async function runBlock(name: RuntimeName, block: number, left: readonly Trial[], own: RuntimeProgress) {
    const slots = name === 'sequential' ? 1 : parallel;
    const refusals = new Map<Refusal, number>();
    const runtime = open.get(name) as Runtime;
    const startedAtMs = nowMs();
    let isolationKnown = store.fact('isolation').length > 0;
    store.beginSegment(name, block, startedAtMs);
    const report = (running: number) =>
      listener({ kind: 'progress', progress: own.snapshot(running, nowMs() - startedAtMs) });
    report(0);
    const segment = runSegment({
      runtime,
      slots,
      trials: left,
      earlier: (trialId) => own.attemptsOf(trialId),
      maxAttempts,
      faults: definition.faults,
      seed: definition.seed,
      admission: new Admission({
        limitBytes: definition.limits.memoryBytes,
        slots,
        nowMs,
      }),
      nowMs,
      signal,
      onStart: (start) => {
        store.attemptStarted(start);
        const trial = own.trial(start.trialId);
        listener({ kind: 'attempt-start', runtime: name, trial, attempt: start.attempt, slot: start.slot });
      },
      onEnd: (attempt, willRetry) => {
        store.attemptEnded(attempt);
        if (attempt.end === 'completed' && attempt.fault === 'leak')
          notice(
            `Leaks that were injected under ${name} were stopped by nothing; the trials went on with their memory held.`,
          );
        if (!isolationKnown && runtime.isolation.length > 0) {
          store.putFact('isolation', runtime.isolation);
          isolationKnown = true;
        }
        own.add(attempt);
        listener({ kind: 'attempt-end', trial: own.trial(attempt.trialId), attempt, willRetry });
        // The attempt that has just ended still holds its slot.
        report(segment.state().running - 1);
      },
      onRefusal: (why) => refusals.set(why, (refusals.get(why) ?? 0) + 1),
    });
    const stopSampler = startSampler(
      {
        runtime: name,
        cores: definition.machine.cores,
        memoryBytes: () => runtime.memoryBytes(),
        running: () => segment.state().running,
        queued: () => segment.state().queued,
        nowMs,
      },
      (sample) => store.addSample(sample),
    );
    try {
      await segment.done;
    } finally {
      stopSampler();
      const endedAtMs = nowMs();
      store.endSegment(endedAtMs);
      own.addWall(endedAtMs - startedAtMs);
    }
    for (const why of refusals.keys())
      notice(
        `Under ${name}, trials waited for admission because of ${why}: less ran at once than there were slots.`,
      );
  }
}
