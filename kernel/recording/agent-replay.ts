import type { WireRequest } from '../../native/types.ts';
import type { SyscallDefinition } from '../syscalls/define.ts';
import type { CallEntry } from './format.ts';
import { type Difference, diffTexts } from './json-diff.ts';
import { callKey, canonicalText } from './keying.ts';
import type { RecordedRun } from './load.ts';
import type { DoneCall } from './output-hash.ts';
import type { Redactor } from './redactor.ts';

/** Recorded calls looked at for the nearest one. */
const MAX_COMPARED = 200;
/**
 * Answers on different connections may overtake each other inside the agent. Between two of them it has as long as it had in
 * the recording, but no longer than this.
 */
const MAX_PACE_MS = 20;
const MIN_PACE_MS = 1;

export const DIVERGENCES = ['start', 'call', 'answer', 'missing', 'stalled', 'exit', 'output'] as const;

/** Where a replay left its recording, and what was next to it. */
export interface Divergence {
  /**
   * start: the agent could not be started; call: it made a call that is not in the recording; answer: the kernel answered
   * otherwise; missing: it ended before a recorded call; stalled: it did not come to a recorded call; exit, output: it
   * ended otherwise, or with other output.
   */
  readonly kind: (typeof DIVERGENCES)[number];
  readonly agent: number;
  readonly name: string;
  readonly incarnation: number;
  readonly message: string;
  /** Calls that were as recorded until then. */
  readonly matched: number;
  readonly call: { readonly syscall: string; readonly request: string } | null;
  /** The recorded call that comes closest. */
  readonly nearest: { readonly seq: number; readonly syscall: string; readonly request: string } | null;
  readonly differences: readonly Difference[];
}

/** A call of the recording on its way through a replay. */
interface Step {
  readonly entry: CallEntry;
  request: WireRequest | null;
  /** What the agent asked and was given this time, secrets taken out. */
  actualRequest: string;
  actualAnswer: string | null;
  /** It may be answered when its turn comes. */
  ready: boolean;
}

/** One moment of the recording: a call came, or was answered. */
interface Moment {
  readonly tick: number;
  readonly wallMs: number;
  readonly step: Step;
  readonly kind: 'begun' | 'ended';
}

export interface AgentReplayOptions {
  readonly run: RecordedRun;
  readonly redactor: Redactor;
  readonly table: ReadonlyMap<number, SyscallDefinition>;
  /** Which calls the kernel does again, where success alone is compared; absent = those of class `deterministic`, compared whole. */
  readonly executes?: (entry: CallEntry) => boolean;
  /** A call was found in the recording. */
  readonly onTaken?: (request: WireRequest, entry: CallEntry) => void;
  readonly deliver: (request: WireRequest, answer: string) => void;
  readonly onDivergence: (divergence: Divergence) => void;
  /** Every recorded call was made and answered. */
  readonly onComplete: () => void;
  readonly onProgress: () => void;
}

/**
 * One incarnation of an agent against its recording. A call is found by its content and occurrence; it is answered when
 * everything that came before that answer has come again, so that an agent with several calls under way sees the answers in
 * the order it saw them first.
 */
export class AgentReplay {
  readonly #options: AgentReplayOptions;
  readonly #byKey = new Map<string, Step[]>();
  readonly #byRequest = new Map<WireRequest, Step>();
  readonly #steps: readonly Step[];
  readonly #moments: readonly Moment[];
  #at = 0;
  #last: { readonly connection: number; readonly wallMs: number; readonly atMs: number } | null = null;
  #pace: NodeJS.Timeout | null = null;
  #matched = 0;
  #executed = 0;
  #over = false;

  constructor(options: AgentReplayOptions) {
    this.#options = options;
    this.#steps = options.run.calls.map((entry) => ({
      entry,
      request: null,
      actualRequest: '',
      actualAnswer: null,
      ready: false,
    }));
    for (const step of this.#steps) {
      const { key, opcode, request } = step.entry;
      // Where a secret was taken out, the agent may have it, or what is in its place.
      for (const each of new Set([key, callKey(opcode, request)])) {
        this.#byKey.getOrInsertComputed(each, () => []).push(step);
      }
    }
    this.#moments = this.#steps.flatMap(momentsOf).sort((a, b) => a.tick - b.tick);
  }

  get matched(): number {
    return this.#matched;
  }

  /** Calls that the kernel executed and answered as recorded. */
  get executed(): number {
    return this.#executed;
  }

  /** What the agent did this time, in the order of the recording. */
  get doneCalls(): DoneCall[] {
    return this.#steps
      .filter((step) => step.request !== null)
      .map(({ entry, actualRequest, actualAnswer }) => ({
        opcode: entry.opcode,
        request: actualRequest,
        answer: actualAnswer,
      }));
  }

  get isComplete(): boolean {
    return this.#at === this.#moments.length;
  }

  /** How long the recording took to the next moment. ms */
  get expectedMs(): number {
    const next = this.#moments[this.#at];
    const before = this.#moments[this.#at - 1];
    if (before === undefined) return 0;
    const { exit } = this.#options.run;
    const nextMs = next?.wallMs ?? (exit === null ? before.wallMs : Date.parse(exit.at));
    return Math.max(0, nextMs - before.wallMs);
  }

  /** No call counts any more. */
  end(): void {
    this.#over = true;
    if (this.#pace !== null) clearTimeout(this.#pace);
    this.#pace = null;
  }

  /** true = taken: it is answered from the recording, or never. */
  begin(request: WireRequest): boolean {
    if (this.#over) return true;
    const { text, base } = this.#options.redactor.redact(request.payload);
    const step = this.#find(request.opcode, base) ?? this.#find(request.opcode, text);
    if (step === undefined) {
      // What an agent did between its last recorded call and its violent end is not known.
      if (!this.isComplete || this.#options.run.exit?.reason === 'exited') this.#unexpected(request, text);
      return true;
    }
    step.request = request;
    // Where something was taken out, the agent has said the same though it may not look so.
    step.actualRequest = step.entry.redactions > 0 ? step.entry.request : text;
    this.#matched += 1;
    this.#options.onProgress();
    this.#options.onTaken?.(request, step.entry);
    const executed = this.#isExecuted(step.entry);
    if (executed) this.#byRequest.set(request, step);
    else step.ready = true;
    this.#advance();
    return !executed;
  }

  /** What the kernel answered to a call it executed. */
  answered(request: WireRequest, payload: string): void {
    const step = this.#byRequest.get(request);
    if (step === undefined || this.#over) return;
    this.#byRequest.delete(request);
    const actual = this.#options.redactor.redact(payload, parsed(step.entry.request)).text;
    const recorded = step.entry.answer ?? '';
    // A process that has just gone is told so, whatever it asked; nobody hears it.
    const isCut = codeOf(actual) === 'CANCELLED';
    const unstable = this.#options.table.get(step.entry.opcode)?.unstable ?? [];
    const isSame =
      this.#options.executes === undefined
        ? comparedText(actual, unstable) === comparedText(recorded, unstable)
        : isSuccess(actual) === step.entry.success;
    if (!isCut && !isSame) {
      this.#diverge({
        kind: 'answer',
        message: `${step.entry.syscall} was answered otherwise than in the recording`,
        call: { syscall: step.entry.syscall, request: step.entry.request },
        nearest: nearestOf(step.entry),
        differences: diffTexts(recorded, actual),
      });
      return;
    }
    this.#executed += 1;
    if (step.entry.delivered) step.actualAnswer = isCut || unstable.length > 0 ? recorded : actual;
    step.ready = true;
    this.#advance();
  }

  /** The agent has ended, or makes no progress. false = everything recorded had come. */
  missing(kind: 'missing' | 'stalled', how: string): boolean {
    if (this.isComplete || this.#over) return false;
    const next = this.#steps.find((step) => step.request === null)?.entry ?? null;
    const what = next === null ? 'its last answers' : `its ${next.syscall} (entry ${next.seq})`;
    this.#diverge({
      kind,
      message: `the agent ${how} before ${what}`,
      call: null,
      nearest: next === null ? null : nearestOf(next),
      differences: [],
    });
    return true;
  }

  #find(opcode: number, text: string): Step | undefined {
    return this.#byKey.get(callKey(opcode, text))?.find((each) => each.request === null);
  }

  #isExecuted(entry: CallEntry): boolean {
    if (this.#options.executes !== undefined) return this.#options.executes(entry);
    const { opcode, replay, answer, success } = entry;
    if (answer === null || replay !== 'deterministic') return false;
    // What the incarnations before it left in the kernel is not there.
    if (this.#options.run.incarnation > 0) return false;
    if (this.#options.table.get(opcode)?.replay !== 'deterministic') return false;
    // A refusal may rest on grants, quotas and queues that a replay does not have; the form of a request is its own.
    return success || codeOf(answer) === 'BAD_REQUEST';
  }

  #advance(): void {
    if (this.#over || this.#pace !== null) return;
    for (; this.#at < this.#moments.length; this.#at += 1) {
      const moment = this.#moments[this.#at] as Moment;
      const { step, kind } = moment;
      if (step.request === null || (kind === 'ended' && !step.ready)) return;
      if (kind === 'begun') continue;
      if (this.#mustWait(moment, step.request.connection)) return;
      const recorded = step.entry.answer ?? '';
      step.actualAnswer ??= recorded;
      this.#options.deliver(step.request, recorded);
    }
    this.#options.onComplete();
  }

  #mustWait({ wallMs }: Moment, connection: number): boolean {
    const now = performance.now();
    const last = this.#last;
    if (last !== null && last.connection !== connection) {
      const paceMs = Math.min(MAX_PACE_MS, Math.max(MIN_PACE_MS, wallMs - last.wallMs));
      const leftMs = paceMs - (now - last.atMs);
      if (leftMs > 0) {
        this.#pace = setTimeout(() => {
          this.#pace = null;
          this.#advance();
        }, leftMs);
        return true;
      }
    }
    this.#last = { connection, wallMs, atMs: now };
    return false;
  }

  #unexpected(request: WireRequest, text: string): void {
    const syscall = this.#options.table.get(request.opcode)?.name ?? `opcode ${request.opcode}`;
    const same = this.#byKey.get(callKey(request.opcode, text));
    const nearest = same?.at(-1)?.entry ?? this.#nearestTo(request.opcode, text);
    const message =
      same === undefined
        ? `the agent made a ${syscall} that is not in the recording`
        : `the agent made the same ${syscall} once more than the ${same.length} times of the recording`;
    this.#diverge({
      kind: 'call',
      message,
      call: { syscall, request: text },
      nearest: nearest === null ? null : nearestOf(nearest),
      differences:
        nearest === null || nearest.opcode !== request.opcode ? [] : diffTexts(nearest.request, text),
    });
  }

  /** Of the calls that have not come, the same syscall with the fewest differences; else the next one. */
  #nearestTo(opcode: number, text: string): CallEntry | null {
    const waiting = this.#steps.filter((step) => step.request === null).map(({ entry }) => entry);
    let best: CallEntry | null = null;
    let fewest = Number.POSITIVE_INFINITY;
    for (const entry of waiting.filter((each) => each.opcode === opcode).slice(0, MAX_COMPARED)) {
      const { length } = diffTexts(entry.request, text);
      if (length < fewest) [best, fewest] = [entry, length];
    }
    return best ?? waiting[0] ?? null;
  }

  #diverge(what: Omit<Divergence, 'agent' | 'name' | 'incarnation' | 'matched'>): void {
    this.#over = true;
    const { agent, name, incarnation } = this.#options.run;
    this.#options.onDivergence({ agent, name, incarnation, matched: this.#matched, ...what });
  }
}

function momentsOf(step: Step): Moment[] {
  const { begun, ended, at, duration_us, answer, delivered } = step.entry;
  const wallMs = Date.parse(at);
  const came: Moment = { tick: begun, wallMs, step, kind: 'begun' };
  if (answer === null || !delivered) return [came];
  return [came, { tick: ended, wallMs: wallMs + duration_us / 1000, step, kind: 'ended' }];
}

function nearestOf({ seq, syscall, request }: CallEntry): NonNullable<Divergence['nearest']> {
  return { seq, syscall, request };
}

/** An answer without what differs from run to run. */
function comparedText(answer: string, unstable: readonly string[]): string {
  const value = unstable.length === 0 ? null : parsed(answer);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return canonicalText(answer);
  const stable = Object.entries(value).filter(([name]) => !unstable.includes(name));
  return canonicalText(JSON.stringify(Object.fromEntries(stable)));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isSuccess(answer: string): boolean {
  const value = parsed(answer);
  return !(typeof value === 'object' && value !== null && 'success' in value && value.success === false);
}

function codeOf(answer: string): unknown {
  const value = parsed(answer);
  return typeof value === 'object' && value !== null && 'code' in value ? value.code : undefined;
}
