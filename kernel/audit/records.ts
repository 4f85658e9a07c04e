import type { Caller } from '../identity.ts';
import type { Decision } from '../permissions/decision.ts';
import type { AuditCategory, SyscallDefinition } from '../syscalls/define.ts';
import { canonicalJson, canonicalString } from './canonical.ts';
import { chainOf } from './chains.ts';
import { AuditDraft, isoTime } from './draft.ts';
import { boundText, summarise } from './summary.ts';

/** Who did it, as a record names it. */
export interface Subject {
  readonly caller: Caller;
  readonly name: string;
}

/** Where and when something is recorded. */
export interface Scene {
  readonly boot: string;
  /** ISO 8601; null = outside of worlds. */
  readonly worldTime: string | null;
}

export interface AuditedCall {
  readonly category: AuditCategory;
  readonly subject: Subject;
  /** null = there is no such syscall. */
  readonly definition: SyscallDefinition | null;
  readonly opcode: number;
  readonly decision: Decision;
  /** The request as its schema made it; undefined = it was not looked at. */
  readonly input: unknown;
}

const MAX_OBJECT_CHARS = 1024;
/** Where a request names what it is about, if the decision did not. The first that is there counts. */
const OBJECT_FIELDS = [
  'path',
  'url',
  'key',
  'name',
  'to_name',
  'to',
  'target',
  'id',
  'agent_id',
  'world_id',
  'script',
  'command',
];

/** One decision about one syscall: who asked for what, which rule allowed or refused it, and what came of it. */
export class CallRecord extends AuditDraft {
  readonly #scene: Scene;
  readonly #caller: Caller;
  readonly #name: string;
  readonly #opcode: number;
  readonly #syscall: string | null;
  readonly #decision: Decision;
  readonly #details: string;
  /** As JSON. */
  readonly #object: string;
  readonly #rule: string;

  constructor(scene: Scene, { category, subject, definition, opcode, decision, input }: AuditedCall) {
    const isRaw = definition === null || definition.raw === true;
    // Now, and as texts of their own: handlers may change what they were given, and it may be large.
    const details = isRaw ? '{}' : summarise(input);
    const object = decision.object === '' ? objectOf(input) : decision.object;
    const origin = subject.caller.kind === 'operator' ? 'operators' : 'agents';
    super(chainOf(category, origin), subject.caller.id, details.length);
    this.#details = details;
    this.#object = canonicalString(boundText(object, MAX_OBJECT_CHARS));
    this.#rule = canonicalString(boundText(decision.ruleId, MAX_OBJECT_CHARS));
    this.#scene = scene;
    this.#caller = subject.caller;
    this.#name = subject.name;
    this.#opcode = opcode;
    this.#syscall = definition?.name ?? null;
    this.#decision = decision;
  }

  get subject(): Subject {
    return { caller: this.#caller, name: this.#name };
  }

  body(): string {
    const { allowed, policyDigest } = this.#decision;
    const type = allowed ? 'SYSCALL' : 'PERMISSION_DENIED';
    return (
      `{"boot":"${this.#scene.boot}","decision":"${allowed ? 'allow' : 'deny'}","details":${this.#details},` +
      `"event_type":"${type}","monotonic_us":${Math.round(this.monotonicMs * 1000)},` +
      `"object":${this.#object},"opcode":${this.#opcode},` +
      `"outcome":"${this.outcome}","policy":${canonicalString(policyDigest)},"rule":${this.#rule},` +
      `"subject":${subjectJson(this.#caller, this.#name)},"success":${this.outcome === 'OK'},` +
      `"syscall":${this.#syscall === null ? 'null' : `"${this.#syscall}"`},` +
      `"time":"${isoTime(this.wallMs)}","world_time":${worldTimeJson(this.#scene)}}`
    );
  }
}

export interface AuditEvent {
  readonly category: AuditCategory;
  /** Upper case, as AGENT_SPAWNED. */
  readonly type: string;
  /** Whom it is about; absent = the kernel. */
  readonly agentId?: number;
  readonly agentName?: string;
  /** Who made it happen; absent = the kernel itself. */
  readonly by?: Subject;
  readonly success?: boolean;
  /** Plain data without secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** Something that happened, whoever brought it about. */
export class EventRecord extends AuditDraft {
  readonly #scene: Scene;
  readonly #event: AuditEvent;
  readonly #details: string;

  constructor(scene: Scene, event: AuditEvent) {
    // What agents bring about, in whatever number, stands with what agents do.
    const { kind = 'operator' } = event.by?.caller ?? {};
    const origin = kind === 'operator' ? 'events' : 'agents';
    const details = canonicalJson(event.details ?? {});
    super(chainOf(event.category, origin), event.agentId ?? 0, details.length);
    this.#scene = scene;
    this.#event = event;
    this.#details = details;
  }

  body(): string {
    const { type, agentName, by, success } = this.#event;
    return (
      `{${agentName === undefined ? '' : `"agent_name":${canonicalString(agentName)},`}` +
      `"boot":"${this.#scene.boot}","details":${this.#details},"event_type":${canonicalString(type)},` +
      `"monotonic_us":${Math.round(this.monotonicMs * 1000)},"outcome":"${this.outcome}",` +
      `"subject":${by === undefined ? '{"id":0,"kind":"kernel"}' : subjectJson(by.caller, by.name)},` +
      `"success":${this.outcome === 'OK' && success !== false},"time":"${isoTime(this.wallMs)}","world_time":${worldTimeJson(this.#scene)}}`
    );
  }
}

function worldTimeJson({ worldTime }: Scene): string {
  return worldTime === null ? 'null' : canonicalString(worldTime);
}

function subjectJson({ id, kind, peer }: Caller, name: string): string {
  return `{"id":${id},"kind":"${kind}","name":${canonicalString(name)},"pid":${peer.pid},"uid":${peer.uid}}`;
}

function objectOf(input: unknown): string {
  if (typeof input !== 'object' || input === null) return '';
  for (const field of OBJECT_FIELDS) {
    const value = (input as Readonly<Record<string, unknown>>)[field];
    if (typeof value === 'string' && value !== '') return value;
    if (typeof value === 'number' && value !== 0) return String(value);
    if (Array.isArray(value) && typeof value[0] === 'string') return value[0];
  }
  return '';
}
