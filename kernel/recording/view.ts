import { CloveError } from '../../errors/index.ts';
import { type CallEntry, entry, openLine } from './format.ts';
import { linesOf } from './lines.ts';
import { readRecording } from './reader.ts';

/** What existing clients know as an entry of a recording. */
export interface ViewEntry {
  readonly sequence_id: number;
  readonly timestamp: string;
  readonly agent_id: number;
  readonly opcode: number;
  readonly opcode_name: string;
  readonly payload: string;
  readonly response: string;
  readonly duration_us: number;
  readonly success: boolean;
}

export interface Includes {
  readonly think: boolean;
  readonly http: boolean;
  readonly exec: boolean;
}

const NEVER: ReadonlySet<string> = new Set([
  'LIST',
  'GET_PERMS',
  'KEYS',
  'POLL_EVENTS',
  'GET_AUDIT_LOG',
  'TUNNEL_STATUS',
  'TUNNEL_LIST_REMOTES',
  'WORLD_LIST',
  'WORLD_STATE',
]);

/** Whether existing clients see this syscall in a recording; the file has it in any case. */
export function isInView(syscall: string, include: Includes): boolean {
  if (NEVER.has(syscall) || syscall.startsWith('METRICS_')) return false;
  if (syscall === 'THINK') return include.think;
  if (syscall === 'HTTP') return include.http;
  return syscall !== 'EXEC' || include.exec;
}

/** An entry without its request and answer. */
const ENTRY_BYTES = 300;
/** Most entries are calls; the others need not be read. */
const CALL_START = Buffer.from('{"type":"call"');

export interface ViewRange {
  /** Only entries behind this one. */
  readonly sinceId: number;
  readonly limit: number;
  /** Of the JSON text of all entries. */
  readonly maxBytes: number;
}

/**
 * Entries of a finished recording, checked as they are read; or of one that is still written, of which only the first `bytes`
 * are read. @throws OVERLOAD, DATA_CORRUPT, NOT_FOUND, IO
 */
export async function readView(file: string, bytes: number | null, range: ViewRange): Promise<ViewEntry[]> {
  const found: ViewEntry[] = [];
  if (bytes === 0 || range.limit <= 0) return found;
  let size = 0;
  for await (const call of bytes === null ? finishedCalls(file) : writtenCalls(file, bytes)) {
    if (call.view === 0 || call.view <= range.sinceId) continue;
    size += call.request.length + (call.answer?.length ?? 0) + ENTRY_BYTES;
    if (size > range.maxBytes) {
      throw tooLarge();
    }
    found.push(toView(call));
    if (found.length >= range.limit) break;
  }
  return found;
}

async function* finishedCalls(file: string): AsyncGenerator<CallEntry, void, void> {
  for await (const each of readRecording(file)) if (each.type === 'call') yield each;
}

async function* writtenCalls(file: string, bytes: number): AsyncGenerator<CallEntry, void, void> {
  for await (const line of linesOf(file, bytes)) {
    if (!line.bytes.subarray(0, CALL_START.length).equals(CALL_START)) continue;
    const opened = openLine(line.bytes);
    const parsed = opened === null ? null : entry.safeParse(parseOrNull(opened.body));
    if (parsed?.success !== true || parsed.data.type !== 'call') {
      throw new CloveError('DATA_CORRUPT', 'the recording was changed while it is written');
    }
    yield parsed.data;
  }
}

function parseOrNull(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return null;
  }
}

export function tooLarge(): CloveError {
  return new CloveError('OVERLOAD', 'the recording is larger than one answer can be', {
    hint: 'Take it in parts (get_entries with since_id and limit), or read its file.',
  });
}

function toView(call: CallEntry): ViewEntry {
  return {
    sequence_id: call.view,
    timestamp: call.at,
    agent_id: call.agent,
    opcode: call.opcode,
    opcode_name: call.syscall,
    payload: call.request,
    response: call.answer ?? '',
    duration_us: call.duration_us,
    success: call.success,
  };
}
