import type { CallEntry, Entry, ProcessEntry } from './format.ts';
import { entry as entrySchema, openLine } from './format.ts';
import { linesOf } from './lines.ts';
import { fingerprint } from './process-facts.ts';

/** Of all agents of a snapshot, as text. */
export const MAX_PAST_BYTES = 8 * 2 ** 20;

/** One call of an agent’s past. */
export interface PastCall {
  readonly opcode: number;
  readonly request: string;
  /** null = it was under way. */
  readonly answer: string | null;
  readonly success: boolean;
  /** Somebody was there to get the answer. */
  readonly delivered: boolean;
  /** Order of all comings and answers. */
  readonly begun: number;
  readonly ended: number;
  /** ISO 8601, real time. */
  readonly at: string;
  readonly duration_us: number;
  /** It waits in its world: until then, ms since the world’s start. */
  readonly until_ms: number | null;
}

/** What an agent asked and was answered, from its start to one moment: plain JSON. */
export interface AgentPast {
  /** Its CLOVE_SEED. */
  readonly seed: string | null;
  readonly calls: readonly PastCall[];
}

/** Whose past is asked for. */
export interface PastOf {
  readonly agent: number;
  readonly incarnation: number;
}

/** What a call counts towards what a snapshot takes. */
export function bytesOf({ request, answer }: Pick<PastCall, 'request' | 'answer'>): number {
  return request.length + (answer?.length ?? 0) + 200;
}

/** One moment of a recording that goes on. */
export interface RecordingMark {
  readonly file: string;
  /** Comings and answers until then. */
  readonly tick: number;
  /** When it was taken; nothing of what the agents had under way is in the file before it has ended. */
  readonly underWay: readonly (PastOf &
    Pick<CallEntry, 'syscall' | 'redactions'> &
    Omit<PastCall, 'answer' | 'success' | 'delivered' | 'until_ms'>)[];
}

/**
 * These do nothing that is not in the world, or that lasts: answered again with what was answered then, they leave everything as it is.
 */
const ANSWERED: ReadonlySet<string> = new Set([
  'HELLO',
  'READ',
  'WRITE',
  'EXEC',
  'HTTP',
  'DOWNLOAD',
  'THINK',
  'LLM_REPORT',
  'LIST',
  'LOGS',
  'SEND',
  'RECV',
  'BROADCAST',
  'FETCH',
  'KEYS',
  'POLL_EVENTS',
  'EMIT',
  'GET_PERMS',
  'GET_QUOTA',
  'METRICS_SYSTEM',
  'METRICS_AGENT',
  'METRICS_CGROUP',
  'WORLD_LIST',
  'WORLD_STATE',
  'WORLD_DIFF',
  'WORLD_WAIT',
  'WORLD_CHECKPOINT',
]);
/** What the kernel knows of the agent alone, and a new one does not have: done again. */
const DONE_AGAIN: ReadonlySet<string> = new Set(['REGISTER', 'SUBSCRIBE', 'UNSUBSCRIBE', 'NOTIFY']);
const STORES: ReadonlySet<string> = new Set(['STORE', 'DELETE', 'CAS']);
const OWN_SCOPES: readonly unknown[] = ['agent', 'session'];

/** Whether a call of a past has to be done again, so that the agent is what it was. */
export function isDoneAgain(syscall: string, request: string): boolean {
  if (DONE_AGAIN.has(syscall)) return true;
  return STORES.has(syscall) && OWN_SCOPES.includes(membersOf(request).scope);
}

/** Why the past of an agent that made this call cannot be lived again; null = nothing of it speaks against it. */
export function obstacleIn({
  syscall,
  request,
  redactions,
}: Pick<CallEntry, 'syscall' | 'request' | 'redactions'>): string | null {
  if (redactions > 0) return 'secrets were taken out of its calls';
  if (membersOf(request).async === true) return 'it asked for answers that come later';
  if (ANSWERED.has(syscall) || STORES.has(syscall) || DONE_AGAIN.has(syscall)) return null;
  return `it made a ${syscall || 'call that nobody knows'}, whose effect no snapshot has`;
}

/**
 * What the recording has of some agents until a mark; of each its past, or why there is none. To be asked when all that was answered
 * before the mark is in the file, which may be given as open. @throws IO, DATA_CORRUPT
 */
export async function pastsUntil(
  { file, tick, underWay }: Omit<RecordingMark, 'file'> & { readonly file: string | number },
  bytes: number,
  wanted: readonly PastOf[],
): Promise<Map<number, AgentPast | string>> {
  const found = new Map(wanted.map(({ agent }) => [agent, new Gathered()]));
  const isWanted = ({ agent, incarnation }: PastOf) =>
    wanted.some((each) => each.agent === agent && each.incarnation === incarnation);
  for await (const line of linesOf(file, bytes)) {
    const entry = entryOf(line.bytes);
    if (entry?.type === 'gap') {
      for (const [agent, gathered] of found)
        if (entry.agents === null || entry.agents.includes(agent))
          gathered.obstacle ??= 'calls of it were lost';
    } else if ((entry?.type === 'call' || entry?.type === 'process') && isWanted(entry))
      found.get(entry.agent)?.add(entry, tick);
  }
  for (const call of underWay) if (isWanted(call)) found.get(call.agent)?.take({ ...call, ...PENDING });
  let left = MAX_PAST_BYTES;
  return new Map(
    [...found].map(([agent, gathered]) => {
      const past = gathered.finish(left);
      if (typeof past !== 'string') left -= gathered.bytes;
      return [agent, past];
    }),
  );
}

const PENDING = { answer: null, success: false, delivered: false, until_ms: null };

class Gathered {
  readonly calls: PastCall[] = [];
  bytes = 0;
  obstacle: string | null = null;
  #process: ProcessEntry | null = null;

  add(entry: CallEntry | ProcessEntry, tick: number): void {
    if (entry.type === 'process') {
      this.#process = entry;
      return;
    }
    // Answered after the mark, it is among those that were under way.
    if (entry.ended <= tick) this.take({ ...entry, until_ms: null });
  }

  /** One that is under way is held to the same: it will be served in earnest. */
  take(call: PastCall & Pick<CallEntry, 'syscall' | 'redactions'>): void {
    this.obstacle ??= obstacleIn(call);
    this.bytes += bytesOf(call);
    if (this.bytes > MAX_PAST_BYTES) this.calls.length = 0;
    else {
      const { opcode, request, answer, success, delivered, begun, ended, at, duration_us, until_ms } = call;
      this.calls.push({
        opcode,
        request,
        answer,
        success,
        delivered,
        begun,
        ended,
        at,
        duration_us,
        until_ms,
      });
    }
  }

  finish(left: number): AgentPast | string {
    if (this.#process === null || !this.#process.from_start) return 'it was not recorded from its start';
    if (this.obstacle !== null) return this.obstacle;
    if (this.bytes > left) return `what it did is more than a snapshot takes (${MAX_PAST_BYTES} bytes)`;
    const { script, seed } = this.#process;
    if (script !== null && fingerprint(script.path).sha256 !== script.sha256)
      return 'its script is not the one that was started';
    return { seed, calls: this.calls.toSorted((a, b) => a.begun - b.begun) };
  }
}

function entryOf(line: Buffer): Entry | null {
  const opened = openLine(line);
  if (opened === null) return null;
  try {
    return entrySchema.parse(JSON.parse(opened.body.toString('utf8')));
  } catch {
    return null;
  }
}

function membersOf(request: string): { readonly scope?: unknown; readonly async?: unknown } {
  try {
    const value: unknown = JSON.parse(request);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
