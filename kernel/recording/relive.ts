import { CloveError } from '../../errors/index.ts';
import type { WireRequest } from '../../native/types.ts';
import type { Agent } from '../agents/agent.ts';
import type { Caller } from '../identity.ts';
import type { Kernel } from '../kernel.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { SYSCALL_BY_OPCODE } from '../syscalls/table.ts';
import { AgentReplay, type Divergence } from './agent-replay.ts';
import type { CallEntry } from './format.ts';
import { callKey, Occurrences } from './keying.ts';
import { type AgentPast, isDoneAgain, type PastCall } from './past.ts';
import { Redactor } from './redactor.ts';
import type { CallTap } from './tap.ts';

/** How long an agent may take longer than it took then to make its next call. */
const STALL_MS = 10_000;
/** An agent that comes back holds the time of its world: what it slept, or computed, for longer than this it does not do again. */
const MAX_RELIVING_MS = 5 * 60_000;
const LOOK_MS = 100;

/** An agent that lives again through what it did. */
interface Living {
  readonly replay: AgentReplay;
  readonly outcome: PromiseWithResolvers<Divergence | null>;
  /** Calls that were under way at the moment it is to come to, as it has made them now. */
  readonly underWay: { readonly request: WireRequest; readonly untilMs: number | null }[];
  /** Those that the kernel does again: their answer has been seen by whoever records. */
  readonly doneAgain: WeakSet<WireRequest>;
}

const ofKernels = new WeakMap<Kernel, Reliving>();

/**
 * Starts an agent and answers its calls with what was answered to them before, until it has come to where its past ends; from there on it
 * is like any other, and the calls that were under way then are served. It does not run when this throws.
 * @throws what `start` throws; CONFLICT (it did otherwise than before)
 */
export async function startWithPast(
  kernel: Kernel,
  name: string,
  past: AgentPast,
  start: () => Promise<number>,
): Promise<number> {
  const reliving = ofKernels.getOrInsertComputed(kernel, () => new Reliving(kernel));
  return await reliving.run(name, past, start);
}

class Reliving implements CallTap {
  readonly #kernel: Kernel;
  readonly #living = new Map<string, Living>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  async run(name: string, past: AgentPast, start: () => Promise<number>): Promise<number> {
    if (this.#living.has(name)) throw new CloveError('CONFLICT', `an agent named ${name} is coming back`);
    const living = this.#live(name, past);
    this.#living.set(name, living);
    this.#kernel.dispatcher.reliving = this;
    try {
      const id = await start();
      const divergence = await this.#follow(id, living);
      if (divergence === null) return id;
      const agent = this.#kernel.agents.get(id);
      if (agent !== undefined) await this.#kernel.supervisor.kill(agent, 0, 0);
      throw new CloveError('CONFLICT', `a replay did not bring it back: ${divergence.message}`, {
        details: { matched: divergence.matched, differences: divergence.differences },
      });
    } finally {
      living.replay.end();
      this.#living.delete(name);
      if (this.#living.size === 0) this.#kernel.dispatcher.reliving = null;
    }
  }

  begin(request: WireRequest, _caller: Caller, agent: Agent | null): boolean {
    const living = agent === null ? undefined : this.#living.get(agent.name);
    if (living === undefined || living.replay.isComplete) return false;
    const isTaken = living.replay.begin(request);
    if (!isTaken) living.doneAgain.add(request);
    return isTaken;
  }

  answered(request: WireRequest, payload: string | Uint8Array): boolean {
    for (const { replay, doneAgain } of this.#living.values()) {
      if (!doneAgain.has(request)) continue;
      replay.answered(request, typeof payload === 'string' ? payload : Buffer.from(payload).toString('utf8'));
      return false;
    }
    return true;
  }

  #live(name: string, past: AgentPast): Living {
    const { dispatcher } = this.#kernel;
    const outcome = Promise.withResolvers<Divergence | null>();
    const occurrences = new Occurrences();
    const calls = past.calls.map((call, seq) => entryOf(call, seq, occurrences));
    const untilMs = new Map(calls.map((entry, index) => [entry, past.calls[index]?.until_ms ?? null]));
    const living: Living = {
      outcome,
      underWay: [],
      doneAgain: new WeakSet(),
      replay: new AgentReplay({
        run: { agent: 0, incarnation: 0, name, process: null, calls, exit: null, incomplete: null },
        redactor: new Redactor([]),
        table: SYSCALL_BY_OPCODE,
        executes: ({ syscall, request, answer }) => answer !== null && isDoneAgain(syscall, request),
        deliver: (request, answer) =>
          dispatcher.deliver(request, answer, { isKnown: living.doneAgain.has(request) }),
        onTaken: (request, entry) => {
          if (entry.answer === null) living.underWay.push({ request, untilMs: untilMs.get(entry) ?? null });
        },
        onDivergence: outcome.resolve,
        onComplete: () => {
          outcome.resolve(null);
          for (const each of living.underWay.splice(0)) dispatcher.resume(each.request, asNow(each));
        },
        onProgress: () => undefined,
      }),
    };
    return living;
  }

  /** Until it has come to the end of its past, or did otherwise. */
  async #follow(id: number, { replay, outcome }: Living): Promise<Divergence | null> {
    if (replay.isComplete) return null;
    const agent = this.#kernel.agents.get(id);
    const gone = new AbortController();
    const ended =
      agent === undefined ? Promise.resolve() : this.#kernel.supervisor.waitForEnd(agent, null, gone.signal);
    ended.then(
      () => replay.missing('missing', 'ended'),
      () => undefined,
    );
    const startedAtMs = performance.now();
    let progressAtMs = startedAtMs;
    let matched = -1;
    const watch = setInterval(() => {
      if (replay.matched !== matched) [matched, progressAtMs] = [replay.matched, performance.now()];
      const atMs = performance.now();
      const how = stalled(replay.expectedMs, atMs - progressAtMs, atMs - startedAtMs);
      if (how !== null) replay.missing('stalled', how);
    }, LOOK_MS);
    try {
      return await outcome.promise;
    } finally {
      clearInterval(watch);
      gone.abort();
    }
  }
}

/**
 * How an agent has taken too long. null = it has not. ms: what it took then to its next call, what it has taken for that now, and for all
 * since it was started.
 */
export function stalled(expectedMs: number, silentMs: number, livedMs: number): string | null {
  const limitMs = STALL_MS + expectedMs;
  if (silentMs > limitMs) return `did not come within ${Math.round(limitMs)} ms`;
  return livedMs > MAX_RELIVING_MS ? `did not come to where it was within ${MAX_RELIVING_MS} ms` : null;
}

/** A wait ends when it would have, however long it had lasted. */
function asNow({ request, untilMs }: Living['underWay'][number]): WireRequest {
  if (untilMs === null || request.opcode !== OPCODES.WORLD_WAIT) return request;
  return { ...request, payload: JSON.stringify({ until_ms: untilMs }) };
}

function entryOf(call: PastCall, seq: number, occurrences: Occurrences): CallEntry {
  const { opcode, request } = call;
  const definition = SYSCALL_BY_OPCODE.get(opcode);
  const key = callKey(opcode, request);
  const { until_ms: _, ...facts } = call;
  return {
    ...facts,
    type: 'call',
    seq,
    agent: 0,
    incarnation: 0,
    caller: 'agent',
    syscall: definition?.name ?? '',
    replay: definition?.replay ?? 'recorded',
    key,
    occurrence: occurrences.next(0, 0, key),
    view: 0,
    redactions: 0,
  };
}
