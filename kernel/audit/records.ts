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

/** What of a record is the same for all calls of one syscall by one caller under one rule: the parts of its text between the others. */
interface Form {
  readonly boot: string;
  readonly name: string;
  readonly decision: Pick<Decision, 'allowed' | 'ruleId' | 'policyDigest'>;
  readonly toDetails: string;
  readonly toMonotonic: string;
  readonly toObject: string;
  readonly toOutcome: string;
  readonly toSuccess: string;
  readonly toTime: string;
}

/** Of each caller by opcode; gone with the caller. */
const forms = new WeakMap<Caller, Map<number, Form>>();

function formOf({ boot }: Scene, { subject, definition, opcode, decision }: AuditedCall): Form {
  const { caller, name } = subject;
  const ofCaller = forms.getOrInsertComputed(caller, () => new Map());
  const known = ofCaller.get(opcode);
  const { allowed, ruleId, policyDigest } = decision;
  if (
    known !== undefined &&
    known.boot === boot &&
    known.name === name &&
    known.decision.allowed === allowed &&
    known.decision.ruleId === ruleId &&
    known.decision.policyDigest === policyDigest
  )
    return known;
  const syscall = definition === null ? 'null' : `"${definition.name}"`;
  const rule = canonicalString(boundText(ruleId, MAX_OBJECT_CHARS));
  const form: Form = {
    boot,
    name,
    decision: { allowed, ruleId, policyDigest },
    toDetails: `{"boot":"${boot}","decision":"${allowed ? 'allow' : 'deny'}","details":`,
    toMonotonic: `,"event_type":"${allowed ? 'SYSCALL' : 'PERMISSION_DENIED'}","monotonic_us":`,
    toObject: ',"object":',
    toOutcome: `,"opcode":${opcode},"outcome":"`,
    toSuccess: `","policy":${canonicalString(policyDigest)},"rule":${rule},"subject":${subjectJson(caller, name)},"success":`,
    toTime: `,"syscall":${syscall},"time":"`,
  };
  // Of agents' making is only which opcodes there are not: those are few, too.
  ofCaller.set(opcode, form);
  return form;
}

/** One decision about one syscall: who asked for what, which rule allowed or refused it, and what came of it. */
export class CallRecord extends AuditDraft {
  readonly subject: Subject;
  readonly #worldTime: string | null;
  readonly #form: Form;
  readonly #details: string;
  /** As JSON. */
  readonly #object: string;

  constructor(scene: Scene, call: AuditedCall) {
    const { category, subject, definition, decision, input } = call;
    const { caller, name } = subject;
    super(chainOf(category, caller.kind === 'operator' ? 'operators' : 'agents'), caller.id);
    // Now, and as texts of their own: handlers may change what they were given, and it may be large.
    const object = decision.object === '' ? objectOf(input) : decision.object;
    this.#details = definition === null || definition.raw === true ? '{}' : summarise(input);
    this.#object = canonicalString(boundText(object, MAX_OBJECT_CHARS));
    this.#form = formOf(scene, call);
    this.#worldTime = scene.worldTime;
    this.subject = { caller, name };
  }

  body(): string {
    const { toDetails, toMonotonic, toObject, toOutcome, toSuccess, toTime } = this.#form;
    return (
      `${toDetails}${this.#details}${toMonotonic}${Math.round(this.monotonicMs * 1000)}` +
      `${toObject}${this.#object}${toOutcome}${this.outcome}${toSuccess}${this.outcome === 'OK'}` +
      `${toTime}${isoTime(this.wallMs)}","world_time":${worldTimeJson(this.#worldTime)}}`
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
    super(chainOf(event.category, origin), event.agentId ?? 0);
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
      `"success":${this.outcome === 'OK' && success !== false},"time":"${isoTime(this.wallMs)}","world_time":${worldTimeJson(this.#scene.worldTime)}}`
    );
  }
}

function worldTimeJson(worldTime: string | null): string {
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
