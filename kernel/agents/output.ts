import { Socket } from 'node:net';
import type { LogBuffer } from './logs.ts';

/** Output read per slot, all agents together: 200 MB/s at most, so that a flood leaves the event loop to the others. */
const SLOT_MS = 5;
const SLOT_BYTES = 2 ** 20;
const CHUNK_BYTES = 64 * 1024;

interface Stream {
  readonly socket: Socket;
  readonly log: LogBuffer;
}

/**
 * Reads the output pipes of all agents into their logs. Reads go through the event loop (no thread of the pool is held) into
 * one shared buffer. Beyond the budget of a slot streams pause, and their writers wait on a full pipe like for any slow reader.
 */
export class OutputReader {
  readonly #buffer = Buffer.alloc(CHUNK_BYTES);
  #spentBytes = 0;
  #paused: Stream[] = [];
  #timer: NodeJS.Timeout | null = null;

  /** Takes over the fd. Resolves when the last writer is gone and everything was read; never rejects. */
  drain(fd: number, log: LogBuffer): { readonly ended: Promise<void>; destroy(): void } {
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    const socket: Socket = new Socket({
      fd,
      readable: true,
      writable: false,
      onread: {
        buffer: this.#buffer,
        callback: (bytesRead, buffer) => {
          log.append(buffer.subarray(0, bytesRead));
          return this.#spend(bytesRead, { socket, log });
        },
      },
    } as ConstructorParameters<typeof Socket>[0]);
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.destroy());
    socket.on('close', () => resolve());
    // Without a reader of the stream itself 'end' would never come.
    socket.resume();
    return { ended, destroy: () => socket.destroy() };
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#paused = [];
  }

  /** False pauses the stream until the next slot. */
  #spend(bytes: number, stream: Stream): boolean {
    this.#spentBytes += bytes;
    this.#timer ??= setTimeout(() => this.#nextSlot(), SLOT_MS);
    if (this.#spentBytes <= SLOT_BYTES) return true;
    this.#paused.push(stream);
    return false;
  }

  #nextSlot(): void {
    this.#timer = null;
    this.#spentBytes = 0;
    const paused = this.#paused;
    this.#paused = [];
    for (const { socket } of paused) if (!socket.destroyed) socket.resume();
  }
}

/** Writes a text to a pipe and closes it; an agent that does not read it is no error. */
export function feedStdin(fd: number, text: string): void {
  const socket = new Socket({ fd, readable: false, writable: true });
  socket.on('error', () => socket.destroy());
  socket.end(text);
}
