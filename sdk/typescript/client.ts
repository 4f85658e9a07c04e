import { CloveError } from '../../errors/index.ts';
import { callOptions, waitFields } from './arguments.ts';
import type {
  CallOptions,
  ClientOptions,
  ReceivedEvent,
  ReceivedMessage,
  SyscallResponse,
  Target,
  WaitOptions,
} from './types.ts';
import { WorldClient } from './world-client.ts';

export type { AsyncResult, ExecResult, HttpResult, ThinkResult } from './calls-client.ts';
export type { StateScope, Task } from './state-client.ts';

/** Messages or events taken per round trip by the iterators. */
const ITERATOR_BATCH = 64;

/**
 * A client of the kernel. Arguments are plain, answers carry the fields of docs/syscalls.md, failures are CloveErrors.
 * Safe to use from many places at once; keeps the process alive only while a call waits for its answer.
 */
export class CloveClient extends WorldClient {
  /** Taken from the mailbox but not asked for yet: an iteration that was left early. */
  #messages: ReceivedMessage[] = [];
  #events: ReceivedEvent[] = [];

  /** Another client of the same kernel, with a connection of its own. */
  clone(options: ClientOptions = {}): CloveClient {
    return new CloveClient({ ...this.options, socketPath: this.socketPath, ...options });
  }

  // ---- core

  hello(options?: CallOptions): Promise<SyscallResponse<'HELLO'>> {
    return this.call('HELLO', {}, options);
  }

  /** Comes back as it is. */
  async echo(text: string, options?: CallOptions): Promise<string> {
    return String(await this.call('NOOP', text, options));
  }

  /** The kernel's farewell, "goodbye". Ends nothing: close() does. */
  async exit(options?: CallOptions): Promise<string> {
    return String(await this.call('EXIT', undefined, options));
  }

  // ---- messages

  /** To an id or a name; `parent` is whoever spawned this agent. Returns the receiver's id. @throws NOT_FOUND, OVERLOAD */
  async send(to: Target, message: unknown, options?: CallOptions): Promise<number> {
    const target = typeof to === 'number' ? { to } : { to_name: to };
    return (await this.call('SEND', { ...target, message }, options)).delivered_to;
  }

  /** Oldest first; empty when there are none, or none came in time. A message is delivered at most once. */
  async receive(options: WaitOptions = {}): Promise<ReceivedMessage[]> {
    const { max = 10, ...wait } = options;
    if (this.#messages.length > 0) return this.#messages.splice(0, max);
    const { messages } = await this.call('RECV', { max, ...waitFields(wait) }, callOptions(wait));
    return messages;
  }

  /** Messages as they come, for ever; goes on after a reconnect and ends with close(). Leaving the loop loses none. */
  async *messages(
    options: { readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<ReceivedMessage, void, void> {
    for (;;) {
      for (let next = this.#messages.shift(); next !== undefined; next = this.#messages.shift()) yield next;
      const received = await this.untilClosed(() =>
        this.receive({ ...options, wait: true, max: ITERATOR_BATCH }),
      );
      if (received === null) return;
      this.#messages.push(...received);
    }
  }

  broadcast(
    message: unknown,
    options: CallOptions & { readonly includeSelf?: boolean } = {},
  ): Promise<SyscallResponse<'BROADCAST'>> {
    const { includeSelf = false, ...call } = options;
    return this.call('BROADCAST', { message, include_self: includeSelf }, call);
  }

  /** Taken again after a reconnect. @throws CONFLICT when another has it */
  async register(name: string, options?: CallOptions): Promise<void> {
    await this.call('REGISTER', { name }, options);
    this.names.add(name);
  }

  // ---- events

  /** Returns all subscriptions. Renewed after a reconnect. */
  async subscribe(types: readonly string[], options?: CallOptions): Promise<string[]> {
    const answer = await this.call('SUBSCRIBE', { event_types: [...types] }, options);
    this.subscriptions = answer.subscriptions;
    return answer.subscriptions;
  }

  /** Returns what remains. */
  async unsubscribe(types: readonly string[] | 'all', options?: CallOptions): Promise<string[]> {
    const request = types === 'all' ? { all: true } : { event_types: [...types] };
    const { subscribed } = await this.call('UNSUBSCRIBE', request, options);
    this.subscriptions = subscribed;
    return subscribed;
  }

  /** `dropped` counts events that were lost because nobody polled for too long. */
  async pollEvents(options: WaitOptions = {}): Promise<{ events: ReceivedEvent[]; dropped: number }> {
    const { max = 100, ...wait } = options;
    if (this.#events.length > 0) return { events: this.#events.splice(0, max), dropped: 0 };
    const answer = await this.call('POLL_EVENTS', { max, ...waitFields(wait) }, callOptions(wait));
    return { events: answer.events, dropped: answer.dropped };
  }

  /** Events as they come, for ever; goes on after a reconnect and ends with close(). Dropped ones cause a warning. */
  async *events(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<ReceivedEvent, void, void> {
    for (;;) {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) yield next;
      const polled = await this.untilClosed(() =>
        this.pollEvents({ ...options, wait: true, max: ITERATOR_BATCH }),
      );
      if (polled === null) return;
      if (polled.dropped > 0) this.warn(new CloveError('OVERLOAD', `${polled.dropped} events were dropped`));
      this.#events.push(...polled.events);
    }
  }

  /** A custom event. Returns how many subscribers it reached. @throws FORBIDDEN for names of the kernel's own */
  async emit(type: string, data: unknown = {}, options?: CallOptions): Promise<number> {
    return (await this.call('EMIT', { event_type: type, data }, options)).delivered_to;
  }
}

/** Connects with the defaults of ClientOptions, or to one socket. @throws UNREACHABLE */
export function connect(to: string | ClientOptions = {}): Promise<CloveClient> {
  return new CloveClient(typeof to === 'string' ? { socketPath: to } : to).connect();
}
