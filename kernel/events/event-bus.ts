import { CloveError } from '../../errors/index.ts';
import { FIRST_CLIENT_ID } from '../identity.ts';
import { type RoomLimits, type Shared, SharedRoom } from '../ipc/shared-room.ts';
import { type QueueLimits, type TakeOptions, WaitingQueue } from '../ipc/waiting-queue.ts';
import { toSortedJson } from '../json.ts';
import type { KeepsByCaller } from '../kernel.ts';

export const EVENT_TYPES = [
  'AGENT_SPAWNED',
  'AGENT_EXITED',
  'AGENT_PAUSED',
  'AGENT_RESUMED',
  'AGENT_RESTARTING',
  'AGENT_ESCALATED',
  'AGENT_RELOADED',
  'AGENT_READY',
  'AGENT_HEALTH',
  'GROUP_RESTARTING',
  'GROUP_ESCALATED',
  'STATE_CHANGED',
  'TASK_CHANGED',
  'WORLD_CHANGED',
  'MESSAGE_RECEIVED',
  'SYSCALL_BLOCKED',
  'RESOURCE_WARNING',
  'CUSTOM',
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

const KERNEL_TYPES: ReadonlySet<string> = new Set(EVENT_TYPES.filter((type) => type !== 'CUSTOM'));

/**
 * `items` and `bytes`: undelivered events of one subscriber. `sourceBytes` and `totalBytes`: of one emitter and of all, over
 * all subscribers; beyond, emitters are refused until some events are polled or dropped.
 */
export interface EventLimits extends QueueLimits, RoomLimits {}

export const EVENT_LIMITS: EventLimits = {
  items: 10_000,
  bytes: 16 * 2 ** 20,
  sourceBytes: 64 * 2 ** 20,
  totalBytes: 256 * 2 ** 20,
};
/** Types one subscriber may ask for; more is a mistake or an attack. */
const MAX_SUBSCRIPTIONS = 256;
const MAX_TYPE_LENGTH = 128;
const EVENT_OVERHEAD_BYTES = 256;

/** One caller, or all of a kind: an operator may be told what is no business of other agents. */
export type Audience = number | 'operators' | 'agents';

export interface EventBusOptions {
  /** Told of every event of the kernel's own, whether anybody has subscribed or not. */
  readonly onPublish?: (type: EventType, data: unknown, sourceId: number, onlyTo?: Audience) => void;
  readonly limits?: Partial<EventLimits>;
  /** Milliseconds that never go back. */
  readonly monotonicMs?: () => number;
  /** Milliseconds since the epoch. */
  readonly wallMs?: () => number;
}

/** An event as it waits to be polled: one object and one text for all subscribers. */
export interface BusEvent {
  readonly type: EventType;
  /** What an emitter called its CUSTOM event; null = nothing, and for the kernel's own types. */
  readonly customType: string | null;
  /** JSON. */
  readonly text: string;
  /** Caller id; 0 = the kernel. */
  readonly sourceId: number;
  readonly bytes: number;
  /** On the monotonic clock. */
  readonly publishedAtMs: number;
  /** Since the epoch. */
  readonly publishedWallMs: number;
}

export interface PolledEvent extends BusEvent {
  readonly ageMs: number;
}

export interface PollResult {
  readonly events: readonly PolledEvent[];
  /** Events dropped since the last poll because the queue was full: the oldest went first. */
  readonly dropped: number;
}

type Held = BusEvent & Shared;

interface Subscriber {
  readonly types: Set<string>;
  readonly queue: WaitingQueue<Held>;
  dropped: number;
}

/** Who wants to hear of what. Queues are bounded: who does not poll loses the oldest events and is told how many. */
export class EventBus implements KeepsByCaller {
  readonly #onPublish: EventBusOptions['onPublish'];
  readonly #limits: EventLimits;
  readonly #monotonicMs: () => number;
  readonly #wallMs: () => number;
  readonly #subscribers = new Map<number, Subscriber>();
  readonly #room: SharedRoom;

  constructor(options: EventBusOptions = {}) {
    this.#onPublish = options.onPublish;
    this.#limits = { ...EVENT_LIMITS, ...options.limits };
    this.#room = new SharedRoom(this.#limits);
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
    this.#wallMs = options.wallMs ?? Date.now;
  }

  /**
   * A type is one of EVENT_TYPES, `*` for all of them, or the name of a custom event: `build_done` means the CUSTOM events
   * emitted under that name, CUSTOM means all custom ones. @throws BAD_REQUEST, OVERLOAD
   */
  subscribe(id: number, types: readonly string[]): void {
    for (const type of types) assertTypeName(type);
    const subscriber = this.#subscribers.get(id) ?? this.#newSubscriber();
    const wanted = subscriber.types.union(new Set(types));
    if (wanted.size > MAX_SUBSCRIPTIONS) {
      throw new CloveError('OVERLOAD', `too many subscriptions (at most ${MAX_SUBSCRIPTIONS})`);
    }
    for (const type of types) subscriber.types.add(type);
    this.#subscribers.set(id, subscriber);
  }

  /** Returns what remains. Events already queued stay to be polled. */
  unsubscribe(id: number, types: readonly string[] | 'all'): string[] {
    const subscriber = this.#subscribers.get(id);
    if (subscriber === undefined) return [];
    if (types === 'all') subscriber.types.clear();
    else for (const type of types) subscriber.types.delete(type);
    this.#dropIfIdle(id, subscriber);
    return [...subscriber.types];
  }

  subscriptions(id: number): string[] {
    return [...(this.#subscribers.get(id)?.types ?? [])];
  }

  /** An event of the kernel's own. `onlyTo` keeps it from everybody else. Returns how many subscribers it reached. */
  publish(type: EventType, data: unknown, sourceId: number, onlyTo?: Audience): number {
    this.#onPublish?.(type, data, sourceId, onlyTo);
    return this.#publish(type, null, () => toSortedJson(data ?? null), sourceId, onlyTo);
  }

  /** A caller's event. It is CUSTOM under any name but those of the kernel. @throws FORBIDDEN, BAD_REQUEST, OVERLOAD */
  emit(sourceId: number, name: string, data: unknown): number {
    assertTypeName(name);
    if (KERNEL_TYPES.has(name) || name === '*') {
      throw new CloveError('FORBIDDEN', `event type ${name} is reserved for the kernel`);
    }
    const text = JSON.stringify(name === 'CUSTOM' ? (data ?? null) : withCustomType(data, name));
    if (!this.#room.hasRoom(sourceId, sizeOf(text))) {
      throw new CloveError('OVERLOAD', 'too many events wait to be polled', {
        hint: 'Wait until subscribers have polled some.',
      });
    }
    return this.#publish('CUSTOM', name === 'CUSTOM' ? null : name, () => text, sourceId);
  }

  /** Oldest first. Without a subscription there is nothing, and a wait lasts its whole time. @throws CANCELLED */
  async poll(id: number, options: TakeOptions): Promise<PollResult> {
    // A poll that waits must find events of a subscription made meanwhile on another connection of the same caller.
    const subscriber = this.#subscribers.getOrInsertComputed(id, () => this.#newSubscriber());
    try {
      const events = await subscriber.queue.take(options);
      const { dropped } = subscriber;
      subscriber.dropped = 0;
      const now = this.#monotonicMs();
      return {
        events: events.map(({ holders: _, ...event }) => ({
          ...event,
          ageMs: Math.max(0, now - event.publishedAtMs),
        })),
        dropped,
      };
    } finally {
      this.#dropIfIdle(id, subscriber);
    }
  }

  release(id: number): void {
    this.#subscribers.get(id)?.queue.close();
    this.#subscribers.delete(id);
  }

  /** Subscribers and the bytes that wait for them; an event that waits for several counts once. */
  usage(): { readonly subscribers: number; readonly bytes: number } {
    return { subscribers: this.#subscribers.size, bytes: this.#room.totalBytes };
  }

  #newSubscriber(): Subscriber {
    const queue = new WaitingQueue<Held>(this.#limits, (event) => this.#room.leave(event));
    return { types: new Set(), queue, dropped: 0 };
  }

  #dropIfIdle(id: number, subscriber: Subscriber): void {
    const idle =
      subscriber.types.size === 0 && subscriber.queue.length === 0 && subscriber.queue.waiting === 0;
    if (idle && subscriber.dropped === 0 && this.#subscribers.get(id) === subscriber)
      this.#subscribers.delete(id);
  }

  #publish(
    type: EventType,
    customType: string | null,
    text: () => string,
    sourceId: number,
    onlyTo?: Audience,
  ): number {
    const recipients = this.#recipients(type, customType, onlyTo);
    // Most events interest nobody: then they cost nothing.
    if (recipients.length === 0) return 0;
    const written = text();
    const event: Held = {
      type,
      customType,
      text: written,
      sourceId,
      bytes: sizeOf(written),
      publishedAtMs: this.#monotonicMs(),
      publishedWallMs: this.#wallMs(),
      holders: 0,
    };
    // The kernel's own events cannot be refused; where there is no room at all they are lost, and that is told.
    const fits =
      event.bytes <= this.#limits.bytes && this.#room.totalBytes + event.bytes <= this.#limits.totalBytes;
    for (const subscriber of recipients) {
      if (!fits) {
        subscriber.dropped += 1;
        continue;
      }
      this.#room.hold(event);
      subscriber.dropped += subscriber.queue.pushDroppingOldest(event);
    }
    return recipients.length;
  }

  #recipients(type: EventType, customType: string | null, onlyTo: Audience | undefined): Subscriber[] {
    if (typeof onlyTo === 'number') {
      const subscriber = this.#subscribers.get(onlyTo);
      return subscriber !== undefined && wants(subscriber.types, type, customType) ? [subscriber] : [];
    }
    const recipients: Subscriber[] = [];
    for (const [id, subscriber] of this.#subscribers) {
      if (onlyTo !== undefined && id >= FIRST_CLIENT_ID !== (onlyTo === 'operators')) continue;
      if (wants(subscriber.types, type, customType)) recipients.push(subscriber);
    }
    return recipients;
  }
}

function sizeOf(text: string): number {
  return Buffer.byteLength(text) + EVENT_OVERHEAD_BYTES;
}

function wants(types: ReadonlySet<string>, type: EventType, customType: string | null): boolean {
  return types.has(type) || types.has('*') || (customType !== null && types.has(customType));
}

function assertTypeName(name: string): void {
  if (name === '' || name.length > MAX_TYPE_LENGTH || !name.isWellFormed() || /\p{Cc}/u.test(name)) {
    throw new CloveError('BAD_REQUEST', 'invalid request: malformed event type', {
      hint: `An event type has 1 to ${MAX_TYPE_LENGTH} printable characters.`,
    });
  }
}

/** Existing clients find an event's own name in its data, where the data is an object. */
function withCustomType(data: unknown, name: string): unknown {
  if (data === null || data === undefined) return { custom_type: name };
  if (typeof data !== 'object' || Array.isArray(data) || Object.hasOwn(data, 'custom_type')) return data;
  return { ...data, custom_type: name };
}
