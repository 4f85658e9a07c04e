import type { Caller } from '../identity.ts';
import type { Decision } from '../permissions/decision.ts';
import type { CallEntry } from '../store/record-chunk.ts';
import { RecordForm } from '../store/record-form.ts';
import type { AuditCategory, SyscallDefinition } from '../syscalls/define.ts';
import type { CallBytes } from './call-bytes.ts';
import { canonicalJson, canonicalString } from './canonical.ts';
import { chainOf } from './chains.ts';
import { AuditDraft, isoTime, type Outcome } from './draft.ts';
import { boundText } from './summary.ts';
import type { SummaryWriter } from './summary-bytes.ts';

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

const MAX_RULE_CHARS = 1024;

/** What of a record is the same for all calls of one syscall by one caller under one rule. */
interface CallForm {
  readonly boot: string;
  readonly name: string;
  readonly decision: Pick<Decision, 'allowed' | 'ruleId' | 'policyDigest'>;
  /** Before the details, the monotonic time, the object, the outcome, whether that is success, and the time. */
  readonly form: RecordForm;
}

/** Of each caller by opcode; gone with the caller. */
const forms = new WeakMap<Caller, Map<number, CallForm>>();
let latest: { readonly caller: Caller; readonly opcode: number; readonly form: CallForm } | null = null;

function formOf({ boot }: Scene, { subject, definition, opcode, decision }: AuditedCall): RecordForm {
  const { caller, name } = subject;
  // Most calls are like the one before them.
  const known =
    caller === latest?.caller && opcode === latest.opcode ? latest.form : forms.get(caller)?.get(opcode);
  const { allowed, ruleId, policyDigest } = decision;
  if (
    known !== undefined &&
    known.boot === boot &&
    known.name === name &&
    known.decision.allowed === allowed &&
    known.decision.ruleId === ruleId &&
    known.decision.policyDigest === policyDigest
  ) {
    if (known !== latest?.form) latest = { caller, opcode, form: known };
    return known.form;
  }
  const syscall = definition === null ? 'null' : `"${definition.name}"`;
  const rule = canonicalString(boundText(ruleId, MAX_RULE_CHARS));
  const form = new RecordForm([
    `{"boot":"${boot}","decision":"${allowed ? 'allow' : 'deny'}","details":`,
    `,"event_type":"${allowed ? 'SYSCALL' : 'PERMISSION_DENIED'}","monotonic_us":`,
    ',"object":',
    `,"opcode":${opcode},"outcome":"`,
    `","policy":${canonicalString(policyDigest)},"rule":${rule},"subject":${subjectJson(caller, name)},"success":`,
    `,"syscall":${syscall},"time":"`,
  ]);
  // Of agents' making is only which opcodes there are not: those are few, too.
  const made = { boot, name, decision: { allowed, ruleId, policyDigest }, form };
  forms.getOrInsertComputed(caller, () => new Map()).set(opcode, made);
  latest = { caller, opcode, form: made };
  return form;
}

/** Where records of calls are written, one at a time. */
export interface Desk {
  readonly bytes: CallBytes;
  readonly summaries: SummaryWriter;
}

/** One decision about one syscall: who asked for what, which rule allowed or refused it, and what came of it. */
export class CallRecord extends AuditDraft {
  readonly #caller: Caller;
  readonly #name: string;
  readonly #form: RecordForm;
  #bytes: CallBytes;

  /** It stands on the desk until it is kept. */
  constructor(scene: Scene, call: AuditedCall, { bytes, summaries }: Desk) {
    const { category, subject, definition, opcode, decision, input } = call;
    const { caller, name } = subject;
    super(chainOf(category, caller.kind === 'operator' ? 'operators' : 'agents'), caller.id);
    this.#caller = caller;
    this.#name = name;
    this.#form = formOf(scene, call);
    this.#bytes = bytes;
    // Now, and as bytes of its own: handlers may change what they were given, and it may be large.
    bytes.begin(Math.round(performance.now() * 1000), Date.now());
    summaries.putDetails(bytes, opcode, definition === null || definition.raw === true ? null : input);
    summaries.putObject(bytes, opcode, input, decision.object);
    bytes.putWorld(scene.worldTime);
  }

  get subject(): Subject {
    return { caller: this.#caller, name: this.#name };
  }

  /** Away from the desk, which is wanted for the next one. */
  keep(): void {
    this.#bytes = this.#bytes.copy();
  }

  content(): CallEntry {
    const usedBytes = this.#bytes.putOutcome(this.outcome);
    return { form: this.#form, words: this.#bytes.words, usedBytes };
  }

  /** As it will be stored. */
  body(): string {
    const [toDetails, toMonotonic, toObject, toOutcome, toSuccess, toTime] = this.#form.texts;
    const { details, object, world } = this.#bytes.texts;
    return (
      `${toDetails}${details}${toMonotonic}${this.#bytes.monotonicUs}${toObject}${object}${toOutcome}${this.outcome}` +
      `${toSuccess}${isFailure(this.outcome) ? 'false' : 'true'}${toTime}${isoTime(this.#bytes.wallMs)}","world_time":${world === '' ? 'null' : world}}`
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
  /** ms since the epoch. */
  readonly #wallMs = Date.now();
  /** On the clock that never goes back. */
  readonly #monotonicMs = performance.now();

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

  content(): string {
    const { type, agentName, by, success } = this.#event;
    return (
      `{${agentName === undefined ? '' : `"agent_name":${canonicalString(agentName)},`}` +
      `"boot":"${this.#scene.boot}","details":${this.#details},"event_type":${canonicalString(type)},` +
      `"monotonic_us":${Math.round(this.#monotonicMs * 1000)},"outcome":"${this.outcome}",` +
      `"subject":${by === undefined ? '{"id":0,"kind":"kernel"}' : subjectJson(by.caller, by.name)},` +
      `"success":${this.outcome === 'OK' && success !== false},"time":"${isoTime(this.#wallMs)}","world_time":${worldTimeJson(this.#scene.worldTime)}}`
    );
  }
}

/** As far as is known when it is written. */
function isFailure(outcome: Outcome): boolean {
  return outcome !== 'OK' && outcome !== 'BEGUN';
}

function worldTimeJson(worldTime: string | null): string {
  return worldTime === null ? 'null' : canonicalString(worldTime);
}

function subjectJson({ id, kind, peer }: Caller, name: string): string {
  return `{"id":${id},"kind":"${kind}","name":${canonicalString(name)},"pid":${peer.pid},"uid":${peer.uid}}`;
}
