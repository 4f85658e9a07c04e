import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { WireRequest } from '../../native/types.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { AgentReplay, type Divergence } from './agent-replay.ts';
import type { CallEntry } from './format.ts';
import { diffTexts, diffValues } from './json-diff.ts';
import { callKey } from './keying.ts';
import type { RecordedRun } from './load.ts';
import { Redactor } from './redactor.ts';

/** One recorded call: what it asked, and how many other calls came before it was answered; null = it never was. */
interface Asked {
  readonly what: number;
  readonly answeredAfter: number | null;
}

const asked = fc.record({
  what: fc.nat(2),
  answeredAfter: fc.option(fc.nat(3), { nil: null, freq: 6 }),
});

interface Moment {
  readonly kind: 'begun' | 'ended';
  readonly index: number;
}

/** The order in which the calls of a recording came and were answered. */
function momentsOf(calls: readonly Asked[]): Moment[] {
  const moments: Moment[] = [];
  const due: { index: number; at: number }[] = [];
  const answer = (upTo: number) => {
    due.sort((a, b) => a.at - b.at || a.index - b.index);
    while (due[0] !== undefined && due[0].at <= upTo) {
      moments.push({ kind: 'ended', index: (due.shift() as { index: number }).index });
    }
  };
  for (const [index, { answeredAfter }] of calls.entries()) {
    moments.push({ kind: 'begun', index });
    if (answeredAfter !== null) due.push({ index, at: index + answeredAfter });
    answer(index);
  }
  answer(Number.POSITIVE_INFINITY);
  return moments;
}

function requestOf(what: number): string {
  return JSON.stringify({ key: `k${what}` });
}

function runOf(calls: readonly Asked[], reason: 'exited' | 'killed' = 'exited'): RecordedRun {
  const moments = momentsOf(calls);
  const tick = (kind: Moment['kind'], index: number) =>
    moments.findIndex((moment) => moment.kind === kind && moment.index === index) + 1;
  const counts = new Map<number, number>();
  const entries = calls.map(({ what, answeredAfter }, index): CallEntry => {
    const occurrence = counts.get(what) ?? 0;
    counts.set(what, occurrence + 1);
    return {
      type: 'call',
      seq: index + 1,
      agent: 1,
      incarnation: 0,
      caller: 'agent',
      opcode: OPCODES.FETCH,
      syscall: 'FETCH',
      replay: 'recorded',
      key: callKey(OPCODES.FETCH, requestOf(what)),
      occurrence,
      request: requestOf(what),
      answer: answeredAfter === null ? null : JSON.stringify({ n: index }),
      success: true,
      delivered: answeredAfter !== null,
      begun: tick('begun', index),
      ended: tick('ended', index),
      at: '2026-01-01T00:00:00.000Z',
      duration_us: 0,
      view: 0,
      redactions: 0,
    };
  });
  const exit = {
    type: 'exit' as const,
    seq: 99,
    agent: 1,
    incarnation: 0,
    at: '2026-01-01T00:00:01.000Z',
    reason,
    exit_code: 0,
    signal: null,
    stdout: '',
  };
  return { agent: 1, incarnation: 0, name: 'a', process: null, calls: entries, exit, incomplete: null };
}

class Stage {
  readonly delivered: string[] = [];
  readonly replay: AgentReplay;
  divergence: Divergence | null = null;
  isComplete = false;
  #sequence = 0;

  constructor(run: RecordedRun) {
    this.replay = new AgentReplay({
      run,
      redactor: new Redactor(),
      table: new Map(),
      deliver: (_request, answer) => this.delivered.push(answer),
      onDivergence: (divergence) => {
        this.divergence ??= divergence;
      },
      onComplete: () => {
        this.isComplete = true;
      },
      onProgress: () => {},
    });
  }

  ask(payload: string): void {
    this.#sequence += 1;
    const request: WireRequest = {
      connection: 1,
      sequence: this.#sequence,
      opcode: OPCODES.FETCH,
      payload,
      refused: null,
    };
    expect(this.replay.begin(request)).toBe(true);
  }
}

/** Calls between two answers may come in any order: the order of their starts within each such group. */
function groupsOf(moments: readonly Moment[]): number[][] {
  const groups: number[][] = [[]];
  for (const { kind, index } of moments) {
    if (kind === 'begun') groups.at(-1)?.push(index);
    else if (groups.at(-1)?.length !== 0) groups.push([]);
  }
  return groups;
}

describe('an agent that does as recorded', () => {
  it('gets every answer, in the order of the recording, however its calls under way overtake each other', () => {
    fc.assert(
      fc.property(fc.array(asked, { maxLength: 12 }), fc.infiniteStream(fc.nat()), (calls, luck) => {
        const stage = new Stage(runOf(calls));
        const moments = momentsOf(calls);
        for (const group of groupsOf(moments)) {
          while (group.length > 0) {
            const [index] = group.splice((luck.next().value as number) % group.length, 1);
            stage.ask(requestOf((calls[index as number] as Asked).what));
          }
        }
        expect(stage.divergence).toBeNull();
        const order = moments
          .filter(({ kind }) => kind === 'ended')
          .map(({ index }) => JSON.stringify({ n: index }));
        expect(stage.delivered).toEqual(order);
        expect(stage.replay.isComplete).toBe(true);
        expect(stage.isComplete).toBe(calls.length > 0);
        expect(stage.replay.missing('missing', 'ended')).toBe(false);
      }),
      { numRuns: 200 },
    );
  });
});

describe('an agent that does otherwise', () => {
  it('is stopped at that call, given nothing more, and compared with the nearest recorded one', () => {
    fc.assert(
      fc.property(fc.array(asked, { minLength: 1, maxLength: 8 }), fc.nat(), (calls, at) => {
        const stage = new Stage(runOf(calls));
        const index = at % calls.length;
        for (const { what } of calls.slice(0, index)) stage.ask(requestOf(what));
        const before = stage.delivered.length;
        stage.ask('{"key":"other"}');
        for (const { what } of calls.slice(index)) stage.ask(requestOf(what));
        expect(stage.delivered).toHaveLength(before);
        expect(stage.divergence).toMatchObject({
          kind: 'call',
          matched: index,
          call: { syscall: `opcode ${OPCODES.FETCH}`, request: '{"key":"other"}' },
          differences: [{ path: '/key', actual: 'other' }],
        });
        expect(stage.divergence?.nearest?.seq).toBeGreaterThan(index);
      }),
      { numRuns: 100 },
    );
  });

  it('is found when it makes a call once too often or not at all', () => {
    const calls = [
      { what: 0, answeredAfter: 0 },
      { what: 1, answeredAfter: 0 },
    ];
    const often = new Stage(runOf(calls));
    often.ask(requestOf(0));
    often.ask(requestOf(0));
    expect(often.divergence).toMatchObject({ kind: 'call', nearest: { seq: 1 }, differences: [] });
    const seldom = new Stage(runOf(calls));
    seldom.ask(requestOf(0));
    expect(seldom.replay.missing('missing', 'ended')).toBe(true);
    expect(seldom.divergence).toMatchObject({ kind: 'missing', nearest: { seq: 2 } });
  });

  it('after everything recorded is stopped only if it had ended by itself', () => {
    for (const [reason, expected] of [
      ['exited', { kind: 'call' }],
      ['killed', null],
    ] as const) {
      const stage = new Stage(runOf([{ what: 0, answeredAfter: 0 }], reason));
      stage.ask(requestOf(0));
      stage.ask(requestOf(2));
      if (expected === null) expect(stage.divergence).toBeNull();
      else expect(stage.divergence).toMatchObject(expected);
      expect(stage.delivered).toHaveLength(1);
    }
  });
});

describe('a difference', () => {
  it.each<[unknown, unknown, object[]]>([
    [{ a: 1 }, { a: 1 }, []],
    [{ a: 1 }, { a: 2 }, [{ path: '/a', recorded: 1, actual: 2 }]],
    [{ a: { 'b/c~': [1, 2] } }, { a: { 'b/c~': [1, 3] } }, [{ path: '/a/b~1c~0/1', recorded: 2, actual: 3 }]],
    [
      { a: 1 },
      { b: 1 },
      [
        { path: '/a', recorded: 1 },
        { path: '/b', actual: 1 },
      ],
    ],
    [[1], { 0: 1 }, [{ path: '', recorded: [1], actual: { 0: 1 } }]],
    [null, 0, [{ path: '', recorded: null, actual: 0 }]],
  ])('of %j and %j is found', (recorded, actual, expected) =>
    expect(diffValues(recorded, actual)).toEqual(expected),
  );

  it('is there exactly when two values are not the same', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 2 }), fc.jsonValue({ maxDepth: 2 }), (a, b) => {
        const [textA, textB] = [JSON.stringify(a), JSON.stringify(b)];
        expect(diffTexts(textA, textA)).toEqual([]);
        const same = callKey(1, textA) === callKey(1, textB);
        expect(diffTexts(textA, textB).length === 0).toBe(same);
      }),
      { numRuns: 200 },
    );
  });
});
