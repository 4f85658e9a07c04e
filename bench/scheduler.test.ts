import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Admission } from './admission.ts';
import { emptyUsage } from './runtimes/ending.ts';
import type { AttemptEnding, AttemptRequest, Runtime } from './runtimes/runtime.ts';
import { longestFirst, runSegment, type SegmentWork, splitBlocks } from './scheduler.ts';
import { makeTrial } from './testing/attempts.ts';
import type { Attempt, AttemptEnd } from './types.ts';

function ending(end: AttemptEnd): AttemptEnding {
  return { end, exitCode: null, signal: null, error: null, usage: emptyUsage(1), logTail: '', result: null };
}

/** A runtime whose attempts end as `decide` says, after a turn of the event loop. */
function fakeRuntime(decide: (request: AttemptRequest) => AttemptEnd | Promise<AttemptEnd>) {
  const slots = new Set<number>();
  let most = 0;
  const runtime: Runtime = {
    name: 'process',
    isolation: [],
    async start(request) {
      expect(slots.has(request.slot)).toBe(false);
      slots.add(request.slot);
      most = Math.max(most, slots.size);
      await new Promise((resolve) => setImmediate(resolve));
      const end = await decide(request);
      slots.delete(request.slot);
      return ending(end);
    },
    memoryBytes: () => null,
    close: async () => {},
  };
  return { runtime, most: () => most };
}

function segment(runtime: Runtime, given: Partial<SegmentWork> & Pick<SegmentWork, 'trials'>) {
  const made: Attempt[] = [];
  const started: string[] = [];
  const nowMs = () => performance.now();
  const run = runSegment({
    runtime,
    slots: 2,
    earlier: () => [],
    maxAttempts: 3,
    faults: {},
    seed: 1,
    admission: new Admission({ limitBytes: 0, slots: 2, nowMs }),
    nowMs,
    signal: new AbortController().signal,
    onStart: (start) => started.push(`${start.trialId}/${start.attempt}`),
    onEnd: (attempt) => made.push(attempt),
    ...given,
  });
  return { run, made, started };
}

describe('runSegment', () => {
  it('gives every trial an outcome within its attempts, never two at once on a slot', async () => {
    const ends = fc.constantFrom<AttemptEnd>('completed', 'crashed', 'error', 'collateral', 'oom');
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(ends, { minLength: 3, maxLength: 3 }), { maxLength: 12 }),
        fc.integer({ min: 1, max: 4 }),
        async (plan, slots) => {
          const trials = plan.map((_, index) => makeTrial(index, (index * 7) % 5));
          const { runtime, most } = fakeRuntime(
            ({ trial, attempt }) => plan[trial.params.index as number]?.[attempt - 1] ?? 'completed',
          );
          const { run, made } = segment(runtime, { trials, slots });
          await run.done;
          expect(most()).toBeLessThanOrEqual(slots);
          expect(run.state()).toEqual({ running: 0, queued: 0 });
          for (const [index, own] of plan.entries()) {
            const seen = made
              .filter((attempt) => attempt.trialId === trials[index]?.id)
              .map((one) => one.end);
            const expected: AttemptEnd[] = [];
            for (const end of own) {
              expected.push(end);
              if (end === 'completed' || expected.filter((one) => one === 'error').length === 2) break;
            }
            expect(seen).toEqual(expected);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('starts the longest first', async () => {
    const trials = [makeTrial(1, 1), makeTrial(2, 5), makeTrial(3, 3)];
    const { runtime } = fakeRuntime(() => 'completed');
    const { run, started } = segment(runtime, { trials, slots: 1 });
    await run.done;
    expect(started).toEqual(['exp_002/1', 'exp_003/1', 'exp_001/1']);
  });

  it('starts nothing more after an abort and waits for what runs', async () => {
    const stop = new AbortController();
    const { runtime } = fakeRuntime(({ signal }) => {
      stop.abort();
      return signal.aborted ? 'interrupted' : 'completed';
    });
    const trials = [1, 2, 3, 4].map((index) => makeTrial(index));
    const { run, made } = segment(runtime, { trials, slots: 1, signal: stop.signal });
    await run.done;
    expect(made.map((attempt) => attempt.end)).toEqual(['interrupted']);
    expect(run.state()).toEqual({ running: 0, queued: 3 });
  });

  it('does not count interrupted attempts, and draws the same faults after them', async () => {
    const faults: (string | undefined)[] = [];
    const { runtime } = fakeRuntime(({ fault }) => {
      faults.push(fault?.kind);
      return 'crashed';
    });
    const trial = makeTrial(1);
    const plan = { trials: [trial], faults: { crash: 0.4, leak: 0.4 }, slots: 1 };
    await segment(runtime, plan).run.done;
    const uninterrupted = faults.splice(0);
    const before: Attempt = {
      ...ending('interrupted'),
      trialId: trial.id,
      runtime: 'process',
      attempt: 1,
      startedAtMs: 0,
      queuedMs: 0,
      slot: 0,
      fault: null,
    };
    const { run, made } = segment(runtime, { ...plan, earlier: () => [before] });
    await run.done;
    expect(made.map((attempt) => attempt.attempt)).toEqual([2, 3, 4]);
    expect(faults).toEqual(uninterrupted);
  });

  it('fails when an attempt cannot be recorded, after stopping what runs', async () => {
    const { runtime } = fakeRuntime(() => 'completed');
    const { run } = segment(runtime, {
      trials: [makeTrial(1), makeTrial(2)],
      onEnd: () => {
        throw new Error('disk full');
      },
    });
    await expect(run.done).rejects.toThrow('disk full');
  });
});

describe('splitBlocks', () => {
  it('deals every trial into exactly one block, of like cost', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1 }),
        fc.integer({ min: 1, max: 5 }),
        (costs, count) => {
          const trials = costs.map((cost, index) => makeTrial(index, cost));
          const blocks = splitBlocks(trials, count);
          expect(
            blocks
              .flat()
              .map((trial) => trial.id)
              .sort(),
          ).toEqual(trials.map((trial) => trial.id).sort());
          const sums = blocks.map((block) => block.reduce((sum, trial) => sum + trial.costEstimate, 0));
          expect(Math.max(...sums) - Math.min(...sums)).toBeLessThanOrEqual(Math.max(...costs) * 2);
        },
      ),
    );
  });

  it('keeps the order of equals', () => {
    const trials = [makeTrial(1), makeTrial(2), makeTrial(3)];
    expect(longestFirst(trials)).toEqual(trials);
  });
});

describe('Admission', () => {
  const machine = (availableBytes: number) => ({
    memory: () => ({ totalBytes: 1000, availableBytes }),
    pressure: () => 0,
  });
  const options = { limitBytes: 300, slots: 4, nowMs: () => 0 };

  it('always lets one trial run', () => {
    expect(new Admission({ ...options, machine: machine(0) }).refusal()).toBeNull();
  });

  it('holds back what the memory at hand does not carry, and learns what a trial needs', () => {
    const admission = new Admission({ ...options, machine: machine(500) });
    admission.started('a');
    expect(admission.refusal()).toBe('memory');
    admission.ended('a', { ...emptyUsage(1), memoryPeakBytes: 100, memorySource: 'cgroup' }, true);
    admission.started('b');
    expect(admission.refusal()).toBeNull();
  });

  it('holds back while memory is under pressure', () => {
    const calm = machine(100_000);
    for (const [memory, expected] of [
      [90, 'memory pressure'],
      [5, null],
    ] as const) {
      const pressure = (resource: string) => (resource === 'memory' ? memory : 0);
      const admission = new Admission({ ...options, machine: { ...calm, pressure } });
      admission.started('a');
      expect(admission.refusal()).toBe(expected);
    }
  });
});
