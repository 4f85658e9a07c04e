import net from 'node:net';
import { type ErrorCode, isCloveError } from '../../errors/index.ts';
import { toSortedJson } from '../json.ts';
import { MAX_ANSWER_BYTES, MAX_PAYLOAD_BYTES } from '../protocol/constants.ts';
import { encodeFrame, FrameDecoder } from '../wire/codec.ts';
import type { KernelMessage, RelaySyscall } from './messages.ts';
import type { MadeOnce } from './once.ts';

/** Calls of one remote agent that have no answer yet; more are refused. */
const MAX_RUNNING = 64;
/** Their payloads, all together. */
const MAX_RUNNING_BYTES = 4 * 2 ** 20;
/** Answers that wait for one before them, refusals too; whoever goes on beyond that is cut off. */
const MAX_SLOTS = 1024;
/** Of the answer, besides its payload. */
const ENVELOPE_BYTES = 512;

export interface RemoteAgentOptions {
  /** Who it is to this kernel. */
  readonly id: number;
  /** Who it is to the relay. */
  readonly relayId: number;
  /** As the relay calls it. */
  readonly name: string;
  /** Of this connection of the agent: numbers of calls mean nothing beyond it. */
  readonly session: string;
  /** The socket in the kernel that is its alone. */
  readonly socketPath: string;
  readonly once: MadeOnce;
  /** Largest message that the relay takes. */
  readonly relayBytes: number;
  readonly send: (message: KernelMessage) => void;
  /** It is not to be served any more. */
  readonly onEnd: (reason: string) => void;
}

/** A call in the order of answers: the relay's protocol has no other way to tell which answer is to which call. */
interface Slot {
  readonly opcode: number;
  readonly correlation: number | string | undefined;
  readonly key: string | null;
  readonly bytes: number;
  /** It is with the kernel. */
  readonly isRunning: boolean;
  /** Base64; null = not there yet. */
  answer: string | null;
}

/**
 * One agent behind the relay. Its calls go to the kernel as those of any agent, by a socket that is its own: the same
 * guards, checks, limits and records.
 */
export class RemoteAgent {
  readonly id: number;
  readonly relayId: number;
  readonly name: string;
  /** ms since the epoch. */
  readonly connectedAt = Date.now();
  calls = 0;
  readonly #options: RemoteAgentOptions;
  readonly #socket: net.Socket;
  readonly #decoder = new FrameDecoder(MAX_ANSWER_BYTES);
  #slots: Slot[] = [];
  #running = 0;
  #runningBytes = 0;
  #lastSeq = -1;
  #isOver = false;

  constructor(options: RemoteAgentOptions) {
    this.#options = options;
    this.id = options.id;
    this.relayId = options.relayId;
    this.name = options.name;
    this.#socket = net.connect(options.socketPath);
    this.#socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => this.#end('the kernel closed its connection'));
  }

  syscall(message: RelaySyscall): void {
    if (this.#isOver) return;
    this.calls += 1;
    if (this.#slots.length >= MAX_SLOTS) {
      this.#end('it does not wait for answers');
      return;
    }
    const payload = Buffer.from(message.payload, 'base64');
    if (payload.length > MAX_PAYLOAD_BYTES) {
      this.#refuse(message, 'PAYLOAD_TOO_LARGE', `payload of ${payload.length} bytes is too large`);
      return;
    }
    const key = this.#keyOf(message);
    if (key !== null && this.#isRepeated(key, message)) return;
    if (this.#running >= MAX_RUNNING || this.#runningBytes + payload.length > MAX_RUNNING_BYTES) {
      this.#refuse(message, 'OVERLOAD', `${this.#running} calls of this agent run already`, key);
      return;
    }
    this.#running += 1;
    this.#runningBytes += payload.length;
    this.#slots.push({
      opcode: message.opcode,
      correlation: message.id,
      key,
      bytes: payload.length,
      isRunning: true,
      answer: null,
    });
    this.#socket.write(encodeFrame({ opcode: message.opcode, payload }));
  }

  /** Calls that run are called off. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const { key, answer } of this.#slots)
      if (key !== null && answer === null) this.#options.once.lost(key);
    this.#slots = [];
    this.#socket.destroy();
  }

  #keyOf({ idempotency_key, seq }: RelaySyscall): string | null {
    if (idempotency_key !== undefined) return `key\n${this.name}\n${idempotency_key}`;
    return seq === undefined ? null : `seq\n${this.#options.session}\n${seq}`;
  }

  /** Whether the call was there before; then it has its answer, or will have. */
  #isRepeated(key: string, message: RelaySyscall): boolean {
    const seen = this.#options.once.begin(key, message.opcode, message.payload);
    switch (seen.kind) {
      case 'new': {
        const { seq } = message;
        if (message.idempotency_key !== undefined || seq === undefined) return false;
        if (seq <= this.#lastSeq) {
          // So long ago that its answer is forgotten; that it was made is not.
          this.#options.once.lost(key);
          this.#refuse(message, 'CONFLICT', `call ${seq} was made before, or comes too late`);
          return true;
        }
        this.#lastSeq = seq;
        return false;
      }
      case 'answered':
        this.#answerNow(message, seen.answer);
        return true;
      case 'running': {
        const slot = this.#waitingSlot(message);
        seen.wait((answer) => {
          slot.answer = answer;
          this.#flush();
        });
        return true;
      }
      case 'refused':
        this.#refuse(message, 'CONFLICT', seen.reason);
        return true;
    }
  }

  #refuse(message: RelaySyscall, code: ErrorCode, error: string, key: string | null = null): void {
    const answer = errorAnswer(code, error);
    // It was not made: it may be tried again.
    if (key !== null) this.#options.once.forget(key);
    this.#answerNow(message, answer);
  }

  #answerNow(message: RelaySyscall, answer: string): void {
    this.#waitingSlot(message).answer = answer;
    this.#flush();
  }

  #waitingSlot({ opcode, id }: RelaySyscall): Slot {
    const slot: Slot = { opcode, correlation: id, key: null, bytes: 0, isRunning: false, answer: null };
    this.#slots.push(slot);
    return slot;
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#decoder.push(chunk)) this.#answered(frame.payload);
      if (this.#decoder.failure !== null) throw this.#decoder.failure;
    } catch (error) {
      this.#end(isCloveError(error) ? error.message : String(error));
    }
  }

  #answered(payload: Uint8Array): void {
    const slot = this.#slots.find(({ isRunning, answer }) => isRunning && answer === null);
    if (slot === undefined) return;
    this.#running -= 1;
    this.#runningBytes -= slot.bytes;
    slot.answer = this.#asText(payload);
    if (slot.key !== null) this.#options.once.answered(slot.key, slot.answer);
    this.#flush();
  }

  /** A relay that is sent more than it takes hangs up, on everybody. */
  #asText(payload: Uint8Array): string {
    const { relayBytes } = this.#options;
    if (Math.ceil(payload.length / 3) * 4 + ENVELOPE_BYTES <= relayBytes) {
      return Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString('base64');
    }
    return errorAnswer(
      'PAYLOAD_TOO_LARGE',
      `done, but the answer of ${payload.length} bytes is larger than the relay carries`,
    );
  }

  #flush(): void {
    let sent = 0;
    for (const { opcode, correlation, answer } of this.#slots) {
      if (answer === null || this.#isOver) break;
      sent += 1;
      this.#options.send({
        type: 'response',
        agent_id: this.relayId,
        opcode,
        payload: answer,
        ...(correlation === undefined ? {} : { id: correlation }),
      });
    }
    this.#slots.splice(0, sent);
  }

  #end(reason: string): void {
    if (this.#isOver) return;
    this.close();
    this.#options.onEnd(reason);
  }
}

/** In the words of the kernel's own refusals. Base64. */
export function errorAnswer(code: ErrorCode, error: string): string {
  return Buffer.from(toSortedJson({ success: false, error, code })).toString('base64');
}
