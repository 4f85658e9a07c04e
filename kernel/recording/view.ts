import { CloveError } from '../../errors/index.ts';
import type { CallEntry } from './format.ts';
import { linesOf } from './lines.ts';

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

/** Most entries are calls; the others need not be read. */
const CALL_START = Buffer.from('{"type":"call"');

export interface ViewRange {
  /** Only entries behind this one. */
  readonly sinceId: number;
  readonly limit: number;
  /** Of the JSON text of all entries. */
  readonly maxBytes: number;
}

/** Entries of a file, also of one that is still written: only its first `bytes` are read. @throws OVERLOAD, NOT_FOUND, IO */
export async function readView(file: string, bytes: number, range: ViewRange): Promise<ViewEntry[]> {
  const found: ViewEntry[] = [];
  if (bytes === 0 || range.limit <= 0) return found;
  let size = 0;
  for await (const line of linesOf(file, bytes)) {
    if (!line.bytes.subarray(0, CALL_START.length).equals(CALL_START)) continue;
    const call = JSON.parse(line.bytes.toString('utf8')) as CallEntry;
    if (call.view === 0 || call.view <= range.sinceId) continue;
    size += line.bytes.length;
    if (size > range.maxBytes) {
      throw new CloveError('OVERLOAD', 'the recording is larger than one answer can be', {
        hint: 'Take it in parts (get_entries with since_id and limit), or read its file.',
      });
    }
    found.push(toView(call));
    if (found.length >= range.limit) break;
  }
  return found;
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
