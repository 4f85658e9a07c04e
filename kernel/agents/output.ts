import { closeSync, readSync } from 'node:fs';
import { Socket } from 'node:net';
import type { LogBuffer } from './logs.ts';

/** Output read per slot, all agents together: 200 MB/s at most, so that a flood leaves the event loop to the others. */
const SLOT_MS = 5;
const SLOT_BYTES = 2 ** 20;
const CHUNK_BYTES = 64 * 1024;

/** Who ends before that is not listened to: what it left in its pipes is taken at its end, and no stream is made for it. */
const LISTEN_AFTER_MS = 5;

export interface AgentOutput {
  /** Resolves when the last writer is gone and everything was read; never rejects. */
  readonly ended: Promise<void>;
  /** The agent has ended. */
  takeRest(): void;
  destroy(): void;
}

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
  readonly #unheard = new Set<() => void>();
  #listenTimer: NodeJS.Timeout | null = null;

  /** Takes over the fd, which does not block. */
  drain(fd: number, log: LogBuffer): AgentOutput {
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    let socket: Socket | null = null;
    let isOver = false;
    const listen = () => {
      this.#unheard.delete(listen);
      if (socket === null && !isOver) socket = this.#listen(fd, log, resolve);
    };
    const end = () => {
      this.#unheard.delete(listen);
      isOver = true;
      closeSync(fd);
      resolve();
    };
    this.#unheard.add(listen);
    this.#listenTimer ??= setTimeout(() => this.#listenToAll(), LISTEN_AFTER_MS);
    return {
      ended,
      takeRest: () => {
        if (socket !== null || isOver) return;
        if (this.#readAll(fd, log)) end();
        else listen();
      },
      destroy: () => {
        if (socket !== null) socket.destroy();
        else if (!isOver) end();
      },
    };
  }

  #listenToAll(): void {
    this.#listenTimer = null;
    for (const listen of this.#unheard) listen();
  }

  /** False: somebody else may still write to it. */
  #readAll(fd: number, log: LogBuffer): boolean {
    for (;;) {
      try {
        const length = readSync(fd, this.#buffer);
        if (length === 0) return true;
        log.append(this.#buffer.subarray(0, length));
      } catch (error) {
        return (error as NodeJS.ErrnoException).code !== 'EAGAIN';
      }
    }
  }

  #listen(fd: number, log: LogBuffer, ended: () => void): Socket {
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
    socket.on('close', ended);
    // Without a reader of the stream itself 'end' would never come.
    socket.resume();
    return socket;
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#paused = [];
    if (this.#listenTimer !== null) clearTimeout(this.#listenTimer);
    this.#listenTimer = null;
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
