/** From a syscall to what a reader wants to know of it. Pure. */
import type { ActivityKind } from './activity-record.ts';

const MAX_CHARS = 120;
const MAX_PATH_CHARS = 240;

export interface CallText {
  readonly kind: ActivityKind;
  readonly what: string;
  readonly target: string;
  /** What the request carries; null = nothing worth a figure. */
  readonly bytes: number | null;
}

type Fields = Readonly<Record<string, unknown>>;

/** null = it is counted, and no more: it waits, or asks how things stand. */
export function textOf(call: string, input: unknown, payloadBytes: number): CallText | null {
  const fields = (typeof input === 'object' && input !== null ? input : {}) as Fields;
  const of = (kind: ActivityKind, what: string, target: unknown, bytes: number | null = null): CallText => ({
    kind,
    what: short(what),
    target: short(String(target ?? ''), MAX_PATH_CHARS),
    bytes,
  });
  switch (call) {
    case 'SEND':
      return of('message', messageType(fields.message), '', payloadBytes);
    case 'BROADCAST':
      return of('message', messageType(fields.message), '*', payloadBytes);
    case 'HTTP':
      return of('network', String(fields.method || 'GET').toUpperCase(), addressOf(String(fields.url ?? '')));
    case 'DOWNLOAD':
      return of('network', 'GET', addressOf(String(fields.url ?? '')));
    case 'READ':
      return of('file', 'read', fields.path);
    case 'WRITE':
      return of('file', fields.mode === 'append' ? 'append' : 'write', fields.path, lengthOf(fields.content));
    case 'EXEC':
      return of('command', 'exec', programOf(fields));
    case 'THINK':
      return of('model', 'think', fields.model, payloadBytes);
    case 'STORE':
    case 'CAS':
      return of('state', call.toLowerCase(), fields.key, payloadBytes);
    case 'FETCH':
    case 'DELETE':
      return of('state', call.toLowerCase(), fields.key);
    case 'EMIT':
      return of('event', 'emit', fields.event_type ?? fields.event, payloadBytes);
    case 'TASK_CREATE':
    case 'TASK_COMPLETE':
      return of('task', call.slice('TASK_'.length).toLowerCase(), fields.task_id ?? fields.name);
    case 'SPAWN':
    case 'KILL':
    case 'PAUSE':
    case 'RESUME':
    case 'RELOAD':
      return of('agent', call.toLowerCase(), fields.name ?? fields.id ?? fields.agent_id);
    default:
      return null;
  }
}

/** What a message says it is; else the names of its first members. */
export function messageType(message: unknown): string {
  if (typeof message !== 'object' || message === null) return typeof message;
  const fields = message as Fields;
  for (const name of ['type', 'kind', 'event', 'action', 'op', 'cmd'])
    if (typeof fields[name] === 'string') return fields[name];
  if ('answer' in fields) return 'answer';
  const names = Object.keys(fields).slice(0, 3);
  return Array.isArray(message) ? 'list' : `{${names.join(', ')}}`;
}

/** Without query, fragment and user: those may hold secrets. */
export function addressOf(url: string): string {
  const parsed = URL.parse(url);
  if (parsed === null) return short(url.split(/[?#]/, 1)[0] ?? '');
  const scheme = parsed.protocol === 'https:' || parsed.protocol === 'http:' ? '' : `${parsed.protocol}//`;
  return `${scheme}${parsed.host}${parsed.pathname}`;
}

export function hostOf(address: string): string {
  const scheme = address.indexOf('://');
  return (scheme < 0 ? address : address.slice(scheme + 3)).split('/', 1)[0] ?? '';
}

/** Its first word alone: arguments may hold secrets. */
function programOf({ argv, command }: Fields): string {
  if (Array.isArray(argv)) return String(argv[0] ?? '');
  return typeof command === 'string' ? (command.trim().split(/\s+/, 1)[0] ?? '') : '';
}

function lengthOf(content: unknown): number | null {
  return typeof content === 'string' ? Buffer.byteLength(content) : null;
}

export function short(text: string, limit = MAX_CHARS): string {
  return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`;
}
