import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { DurableStore } from '../store/durable-store.ts';
import { isOver, type Task } from './task.ts';
import { type NewTask, TaskBoard, type TaskBoardOptions } from './task-board.ts';

let clock = 0;
const boards: TaskBoard[] = [];
afterEach(() => {
  for (const board of boards.splice(0)) board.close();
});

function boardOf(options: Partial<TaskBoardOptions> = {}): TaskBoard {
  const board = new TaskBoard({ store: null, monotonicMs: () => clock, wallMs: () => clock, ...options });
  boards.push(board);
  return board;
}

const NEW: NewTask = {
  kind: '',
  title: '',
  payload: 'null',
  priority: 0,
  dependsOn: [],
  leaseMs: 1000,
  maxAttempts: 2,
  timeoutMs: null,
  assigneeId: null,
};
const claim = (board: TaskBoard, id: number, kinds: readonly string[] | null = null) =>
  board.claim(id, kinds === null ? null : new Set(kinds), {
    leaseMs: null,
    waitMs: 0,
    signal: new AbortController().signal,
  });
const DONE = { result: '1', error: null, retry: true };
const FAILED = { result: null, error: 'no', retry: true };

/** A store that keeps what is written until it is told whether that worked. */
class SlowStore {
  readonly #writes: { undo: () => void; resolve: () => void; reject: (error: Error) => void }[] = [];

  write(_operations: readonly unknown[], undo: () => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#writes.push({ undo, resolve, reject });
    return promise;
  }

  settled(): Promise<void> {
    return Promise.resolve();
  }

  succeed(): void {
    for (const { resolve } of this.#writes.splice(0)) resolve();
  }

  fail(): void {
    const writes = this.#writes.splice(0);
    for (const { undo } of writes.toReversed()) undo();
    for (const { reject } of writes) reject(new Error('disk full'));
  }
}

describe('TaskBoard', () => {
  it('undoes what could not be written, with all that followed from it', async () => {
    const store = new SlowStore();
    const board = boardOf({ store: store as unknown as DurableStore });
    const first = board.create(1, NEW);
    const second = board.create(1, { ...NEW, dependsOn: [1] });
    store.succeed();
    await Promise.all([first, second]);
    const before = [...board.list()];
    const waiting = board.claim(9, null, {
      leaseMs: null,
      waitMs: null,
      signal: new AbortController().signal,
    });
    const outcomes = [
      waiting,
      board.complete(1, 9, false, null, DONE),
      board.create(1, { ...NEW, kind: 'new' }),
      claim(board, 8),
    ];
    const settled = Promise.allSettled(outcomes);
    expect(board.get(1)?.state).toBe('completed');
    expect(board.get(2)?.state).toBe('assigned');
    store.fail();
    for (const outcome of await settled) expect(outcome.status).toBe('rejected');
    expect([...board.list()]).toEqual(before);
    // Nothing is left of it in the indexes either.
    const next = claim(board, 7);
    store.succeed();
    expect(await next).toMatchObject({ id: 1, attempts: 1, assigneeId: 7 });
    expect(await claim(board, 7)).toBeNull();
  });

  it('is bounded', async () => {
    const board = boardOf({ limits: { creatorTasks: 2, keptOver: 1, textBytes: 10, callerClaims: 1 } });
    await board.create(1, NEW);
    await board.create(1, NEW);
    await expect(board.create(1, NEW)).rejects.toMatchObject({ code: 'OVERLOAD' });
    await board.create(2, NEW);
    await expect(board.create(2, { ...NEW, payload: 'x'.repeat(11) })).rejects.toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
    });
    for (const id of [1, 2]) {
      await claim(board, 9);
      await board.complete(id, 9, false, null, DONE);
    }
    // Of those that are over only the last is remembered.
    expect([...board.list()].map(({ id }) => id)).toEqual([2, 3]);
    await board.create(1, NEW);
    const aborter = new AbortController();
    const wait = { leaseMs: null, waitMs: null, signal: aborter.signal };
    const waiting = board.claim(9, new Set(['none']), wait);
    await expect(board.claim(9, new Set(['none']), wait)).rejects.toMatchObject({ code: 'OVERLOAD' });
    aborter.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('lets no lease last longer though the clock was set back', async () => {
    const first = boardOf();
    clock = 1e9;
    await first.create(1, NEW);
    const task = (await claim(first, 5)) as Task;
    clock = 5;
    const board = boardOf({ rows: { tasks: [task], usedId: 1 }, outlivesKernel: () => true });
    clock += NEW.leaseMs;
    board.sweep();
    expect(board.get(1)).toMatchObject({ state: 'pending', attempts: 1 });
  });

  it('model: one worker at a time, no more attempts than allowed, everything ends or can be taken', async () => {
    const worker = fc.integer({ min: 1, max: 3 });
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('create' as const),
        priority: fc.nat(2),
        of: fc.constantFrom('a', 'b'),
        after: fc.option(fc.nat(5)),
        timeoutMs: fc.option(fc.integer({ min: 1, max: 3000 })),
      }),
      fc.record({ kind: fc.constant('claim' as const), worker, of: fc.option(fc.constantFrom('a', 'b')) }),
      fc.record({
        kind: fc.constant('end' as const),
        worker,
        task: fc.nat(8),
        ok: fc.boolean(),
        retry: fc.boolean(),
      }),
      fc.record({ kind: fc.constant('release' as const), worker }),
      fc.record({ kind: fc.constant('time' as const), ms: fc.integer({ min: 1, max: 1500 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        clock = 0;
        const board = boardOf();
        const ended = new Map<number, string>();
        const isReady = (task: Task) =>
          task.state === 'pending' && task.dependsOn.every((id) => board.get(id)?.state === 'completed');
        for (const each of steps) {
          if (each.kind === 'create') {
            const on = each.after === null ? undefined : board.get(each.after);
            const dependsOn =
              on === undefined || on.state === 'failed' || on.state === 'expired' ? [] : [on.id];
            const { priority, timeoutMs, of } = each;
            await board.create(9, { ...NEW, kind: of, priority, dependsOn, timeoutMs });
          } else if (each.kind === 'claim') {
            const ready = [...board.list()]
              .filter((task) => isReady(task) && (each.of === null || task.kind === each.of))
              .sort((a, b) => b.priority - a.priority || a.id - b.id);
            const taken = await claim(board, each.worker, each.of === null ? null : [each.of]);
            expect(taken?.id).toBe(ready[0]?.id);
          } else if (each.kind === 'end') {
            const before = board.get(each.task);
            const outcome = each.ok ? DONE : { ...FAILED, retry: each.retry };
            const completing = board.complete(each.task, each.worker, false, null, outcome);
            if (before?.state === 'assigned' && before.assigneeId === each.worker) {
              const { task } = await completing;
              expect(task.state).toBe(
                each.ok ? 'completed' : each.retry && before.attempts < 2 ? 'pending' : 'failed',
              );
            } else if (before?.assigneeId === each.worker && /completed|failed/.test(before.state)) {
              expect(await completing).toMatchObject({ already: true, task: before });
            } else {
              const error = await completing.then(
                () => null,
                (reason: { code: string }) => reason,
              );
              expect(error?.code).toBe(before === undefined ? 'NOT_FOUND' : 'CONFLICT');
            }
          } else if (each.kind === 'release') board.release(each.worker);
          else {
            clock += each.ms;
            board.sweep();
          }
          for (const task of board.list()) {
            expect(task.attempts).toBeLessThanOrEqual(task.maxAttempts);
            expect(task.leaseWallMs !== null).toBe(task.state === 'assigned');
            if (task.leaseWallMs !== null && each.kind === 'time')
              expect(task.leaseWallMs).toBeGreaterThan(clock);
            if (ended.has(task.id)) expect(task.state).toBe(ended.get(task.id));
            if (isOver(task)) ended.set(task.id, task.state);
          }
        }
        // Whatever happened, all that is left can be done.
        for (let task = await claim(board, 5); task !== null; task = await claim(board, 5)) {
          await board.complete(task.id, 5, false, task.attempts, DONE);
        }
        const left = [...board.list()].filter((task) => !isOver(task));
        expect(left.every((task) => task.state === 'assigned' || task.dependsOn.length > 0)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });
});
