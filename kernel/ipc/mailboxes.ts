import { CloveError } from '../../errors/index.ts';
import type { KeepsByCaller } from '../kernel.ts';
import { NameTable } from './names.ts';
import { type RoomLimits, type Shared, SharedRoom, type SourceId } from './shared-room.ts';
import { type TakeOptions, WaitingQueue } from './waiting-queue.ts';

/** `sourceBytes`: undelivered bytes of one sender, over all mailboxes. */
export interface MailboxLimits extends RoomLimits {
  /** Undelivered messages of one mailbox. */
  readonly messages: number;
  /** Undelivered bytes of one mailbox. */
  readonly bytes: number;
}

export const MAILBOX_LIMITS: MailboxLimits = {
  messages: 10_000,
  bytes: 64 * 2 ** 20,
  sourceBytes: 128 * 2 ** 20,
  totalBytes: 512 * 2 ** 20,
};

export interface MailboxesOptions {
  readonly limits?: Partial<MailboxLimits>;
  /** Milliseconds that never go back. */
  readonly monotonicMs?: () => number;
  /** Milliseconds since the epoch. */
  readonly wallMs?: () => number;
}

/** A message as it lies in mailboxes: one object and one text, however many mailboxes hold it. */
export interface Message {
  readonly fromId: number;
  /** The sender's name when it was sent; '' = had none. */
  readonly fromName: string;
  /** JSON. */
  readonly text: string;
  readonly bytes: number;
  /** On the monotonic clock. */
  readonly sentAtMs: number;
  /** Since the epoch. */
  readonly sentWallMs: number;
}

export interface ReceivedMessage extends Message {
  readonly ageMs: number;
}

export interface BroadcastResult {
  /** Ids that got it. */
  readonly delivered: readonly number[];
  /** Ids whose mailboxes were full, or out of reach. */
  readonly refused: readonly number[];
}

type Held = Message & Shared;

interface Mailbox {
  readonly parentId: number;
  readonly queue: WaitingQueue<Held>;
}

/** What a message costs besides its text: object, queue slot, timestamps. */
const MESSAGE_OVERHEAD_BYTES = 256;

/**
 * One mailbox per principal: an agent has its own for all its incarnations, an operator's client as long as its connection.
 * A mailbox exists from open() to release(); sending never makes one.
 *
 * Delivery is at most once: a message is out of the mailbox when it is handed to a receiver, also when that receiver's
 * connection breaks before the answer is read. A receiver that is cancelled while it waits takes nothing.
 */
export class Mailboxes implements KeepsByCaller {
  readonly #limits: MailboxLimits;
  readonly #monotonicMs: () => number;
  readonly #wallMs: () => number;
  readonly #boxes = new Map<number, Mailbox>();
  readonly #names = new NameTable();
  readonly #room: SharedRoom;

  constructor(options: MailboxesOptions = {}) {
    this.#limits = { ...MAILBOX_LIMITS, ...options.limits };
    this.#room = new SharedRoom(this.#limits);
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
    this.#wallMs = options.wallMs ?? Date.now;
  }

  /**
   * Lets a principal receive from now on. An agent's own name belongs to it until release(), also between incarnations.
   * @throws CONFLICT (name taken), BAD_REQUEST (malformed name); then nothing was opened.
   */
  open(id: number, options: { name?: string; parentId?: number } = {}): void {
    if (this.#boxes.has(id)) throw new CloveError('CONFLICT', `mailbox ${id} exists already`);
    if (options.name !== undefined) this.#names.take(id, options.name);
    this.#boxes.set(id, {
      parentId: options.parentId ?? 0,
      queue: new WaitingQueue<Held>({ items: this.#limits.messages, bytes: this.#limits.bytes }, (message) =>
        this.#room.leave(message),
      ),
    });
  }

  /** Names, messages and waiting receivers of this id go. */
  release(id: number): void {
    this.#names.release(id);
    this.#boxes.get(id)?.queue.close();
    this.#boxes.delete(id);
  }

  has(id: number): boolean {
    return this.#boxes.has(id);
  }

  /** @throws BAD_REQUEST, CONFLICT (held by another), OVERLOAD (too many names), NOT_FOUND (no such principal) */
  register(id: number, name: string): void {
    if (!this.#boxes.has(id)) throw new CloveError('NOT_FOUND', `target agent not found: ${id}`);
    this.#names.take(id, name);
  }

  /** The name an id is shown by: an agent's own, a client's first; '' when it has none. */
  nameOf(id: number): string {
    return this.#names.nameOf(id);
  }

  /** All names of an id, its own first. */
  namesOf(id: number): readonly string[] {
    return this.#names.namesOf(id);
  }

  /** Whom a name means for this caller: `self` and `parent` are relative. */
  resolve(callerId: number, name: string): number | undefined {
    const id =
      name === 'self'
        ? callerId
        : name === 'parent'
          ? this.#boxes.get(callerId)?.parentId
          : this.#names.idOf(name);
    return id !== undefined && this.#boxes.has(id) ? id : undefined;
  }

  /** @throws NOT_FOUND, OVERLOAD */
  send(fromId: number, toId: number, text: string): void {
    const box = this.#boxes.get(toId);
    if (box === undefined) throw new CloveError('NOT_FOUND', `target agent not found: ${toId}`);
    const message = this.#admit(fromId, text);
    if (!this.#deliver(box, message)) {
      throw new CloveError('OVERLOAD', `mailbox of ${this.nameOf(toId) || toId} is full`, {
        hint: 'The receiver does not keep up; send again later.',
        details: { messages: box.queue.length, bytes: box.queue.bytes },
      });
    }
  }

  /** To every principal that has a name (every agent has). @throws OVERLOAD when the sender's quota is used up. */
  broadcast(
    fromId: number,
    text: string,
    includeSelf: boolean,
    reaches: (id: number) => boolean = () => true,
  ): BroadcastResult {
    const message = this.#admit(fromId, text);
    const delivered: number[] = [];
    const refused: number[] = [];
    // The sender counts as a holder meanwhile: a receiver that takes at once must not settle the account early.
    this.#room.hold(message);
    for (const id of this.#names.namedIds()) {
      if (id === fromId && !includeSelf) continue;
      const box = this.#boxes.get(id);
      if (box === undefined) continue;
      if (reaches(id) && this.#deliver(box, message)) delivered.push(id);
      else refused.push(id);
    }
    this.#room.leave(message);
    return { delivered, refused };
  }

  /** Oldest first. @throws NOT_FOUND, CANCELLED */
  async receive(id: number, options: TakeOptions): Promise<ReceivedMessage[]> {
    const box = this.#boxes.get(id);
    if (box === undefined) throw new CloveError('NOT_FOUND', `target agent not found: ${id}`);
    const messages = await box.queue.take(options);
    const now = this.#monotonicMs();
    return messages.map((message) => ({
      fromId: message.fromId,
      fromName: message.fromName,
      text: message.text,
      bytes: message.bytes,
      sentAtMs: message.sentAtMs,
      sentWallMs: message.sentWallMs,
      ageMs: Math.max(0, now - message.sentAtMs),
    }));
  }

  /** What lies in all mailboxes together. */
  usage(): { readonly mailboxes: number; readonly bytes: number } {
    return { mailboxes: this.#boxes.size, bytes: this.#room.totalBytes };
  }

  /** What lies in a mailbox, oldest first; it stays there. */
  peek(id: number): readonly Pick<Message, 'fromName' | 'text'>[] {
    return (this.#boxes.get(id)?.queue.peek() ?? []).map(({ fromName, text }) => ({ fromName, text }));
  }

  /**
   * A message of nobody who is here: of a world, or kept in a snapshot under its sender's name. Its room is charged to the world,
   * so that one that writes much takes none of the kernel's own, nor of another's. @throws NOT_FOUND, OVERLOAD
   */
  put(toId: number, fromName: string, text: string, worldId: string): void {
    const box = this.#boxes.get(toId);
    if (box === undefined) throw new CloveError('NOT_FOUND', `target agent not found: ${toId}`);
    if (!this.#deliver(box, { ...this.#admit(0, text, `world ${worldId}`), fromName })) {
      throw new CloveError('OVERLOAD', `mailbox of ${this.nameOf(toId) || toId} is full`);
    }
  }

  pending(id: number): number {
    return this.#boxes.get(id)?.queue.length ?? 0;
  }

  #admit(fromId: number, text: string, sourceId: SourceId = fromId): Held {
    const bytes = Buffer.byteLength(text) + MESSAGE_OVERHEAD_BYTES;
    if (!this.#room.hasRoom(sourceId, bytes)) {
      throw new CloveError('OVERLOAD', 'too many undelivered messages', {
        hint: 'Wait until receivers have taken some.',
        details: { senderBytes: this.#room.sourceBytes(sourceId), totalBytes: this.#room.totalBytes },
      });
    }
    return {
      fromId,
      sourceId,
      fromName: this.nameOf(fromId),
      text,
      bytes,
      sentAtMs: this.#monotonicMs(),
      sentWallMs: this.#wallMs(),
      holders: 0,
    };
  }

  #deliver(box: Mailbox, message: Held): boolean {
    if (!box.queue.fits(message)) return false;
    // Before the push: a waiting receiver takes the message inside it.
    this.#room.hold(message);
    box.queue.push(message);
    return true;
  }
}
