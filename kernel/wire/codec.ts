import { CloveError } from '../../errors/index.ts';
import { HEADER_BYTES, MAGIC, MAX_PAYLOAD_BYTES } from '../protocol/constants.ts';

const AGENT_ID_OFFSET = 4;
const OPCODE_OFFSET = 8;
const LENGTH_OFFSET = 9;
const U32 = 2 ** 32;
/** Capacity of an emptied buffer that is kept for the next partial frame. */
const KEPT_BYTES = 64 * 1024;

export interface Frame {
  /** 0..255 */
  readonly opcode: number;
  /** u32. In a request it is ignored; in an answer it says who the caller is. */
  readonly agentId: number;
  readonly payload: Uint8Array;
}

export interface FrameToEncode {
  readonly opcode: number;
  /** Default 0. */
  readonly agentId?: number;
  /** A string is sent as UTF-8. Default: empty. */
  readonly payload?: string | Uint8Array;
}

/** One frame as bytes. Sets no limit on the payload: requests above MAX_PAYLOAD_BYTES are refused by the server. */
export function encodeFrame({ opcode, agentId = 0, payload = '' }: FrameToEncode): Uint8Array {
  checkRange('opcode', opcode, 0xff);
  checkRange('agent id', agentId, U32 - 1);
  const isText = typeof payload === 'string';
  const payloadBytes = isText ? Buffer.byteLength(payload) : payload.length;
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payloadBytes);
  frame.writeUInt32LE(MAGIC, 0);
  frame.writeUInt32LE(agentId, AGENT_ID_OFFSET);
  frame[OPCODE_OFFSET] = opcode;
  frame.writeUInt32LE(payloadBytes % U32, LENGTH_OFFSET);
  frame.writeUInt32LE(Math.floor(payloadBytes / U32), LENGTH_OFFSET + 4);
  if (isText) frame.write(payload, HEADER_BYTES);
  else frame.set(payload, HEADER_BYTES);
  return frame;
}

/**
 * Takes bytes as they come and gives back whole frames. Holds at most one frame, and never more memory than bytes
 * received: a length that was only announced costs nothing.
 */
export class FrameDecoder {
  readonly #maxPayloadBytes: number;
  #buffer = new Uint8Array(0);
  #length = 0;
  #failure: CloveError | null = null;

  constructor(maxPayloadBytes: number = MAX_PAYLOAD_BYTES) {
    this.#maxPayloadBytes = maxPayloadBytes;
  }

  /** Bytes of a frame that is not complete yet. */
  get pendingBytes(): number {
    return this.#length;
  }

  /** Set once the bytes stopped making sense; frames before that point have been given out. */
  get failure(): CloveError | null {
    return this.#failure;
  }

  /**
   * The frames that are complete with this chunk. Payloads may be views of the chunk: do not reuse its memory.
   * Throws PROTOCOL (bad magic) or PAYLOAD_TOO_LARGE, at once if no frame came before, else at the next call.
   */
  push(chunk: Uint8Array): Frame[] {
    if (this.#failure !== null) throw this.#failure;
    const frames: Frame[] = [];
    if (this.#length === 0) {
      const used = this.#parse(chunk, chunk.length, frames, false);
      if (this.#failure === null) this.#store(chunk.subarray(used));
    } else {
      this.#store(chunk);
      const used = this.#parse(this.#buffer, this.#length, frames, true);
      this.#forget(used);
    }
    if (this.#failure !== null) {
      this.#forget(this.#length);
      if (frames.length === 0) throw this.#failure;
    }
    return frames;
  }

  /** Returns how many bytes whole frames took. */
  #parse(bytes: Uint8Array, length: number, frames: Frame[], copy: boolean): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, length);
    let position = 0;
    while (position < length) {
      if (!startsWithMagic(bytes, position, length)) {
        this.#failure = new CloveError(
          'PROTOCOL',
          'bad magic: these bytes are not a frame of the wire protocol',
        );
        break;
      }
      if (length - position < HEADER_BYTES) break;
      const payloadBytes =
        view.getUint32(position + LENGTH_OFFSET, true) +
        view.getUint32(position + LENGTH_OFFSET + 4, true) * U32;
      if (payloadBytes > this.#maxPayloadBytes) {
        this.#failure = new CloveError(
          'PAYLOAD_TOO_LARGE',
          `payload of ${payloadBytes} bytes is larger than ${this.#maxPayloadBytes}`,
        );
        break;
      }
      const start = position + HEADER_BYTES;
      const end = start + payloadBytes;
      if (end > length) break;
      frames.push({
        opcode: view.getUint8(position + OPCODE_OFFSET),
        agentId: view.getUint32(position + AGENT_ID_OFFSET, true),
        payload: copy ? bytes.slice(start, end) : bytes.subarray(start, end),
      });
      position = end;
    }
    return position;
  }

  #store(bytes: Uint8Array): void {
    const needed = this.#length + bytes.length;
    if (needed > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(needed, this.#buffer.length * 2));
      grown.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = grown;
    }
    this.#buffer.set(bytes, this.#length);
    this.#length = needed;
  }

  #forget(bytes: number): void {
    this.#buffer.copyWithin(0, bytes, this.#length);
    this.#length -= bytes;
    if (this.#length === 0 && this.#buffer.length > KEPT_BYTES) this.#buffer = new Uint8Array(0);
  }
}

/** Also of a header that is not whole yet: a stranger is told from the first wrong byte. */
function startsWithMagic(bytes: Uint8Array, position: number, length: number): boolean {
  const known = Math.min(4, length - position);
  for (let i = 0; i < known; i += 1) {
    if (bytes[position + i] !== ((MAGIC >>> (8 * i)) & 0xff)) return false;
  }
  return true;
}

function checkRange(what: string, value: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= 0 && value <= max) return;
  throw new CloveError('BAD_REQUEST', `${what} must be a whole number from 0 to ${max}: ${value}`);
}
