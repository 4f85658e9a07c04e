import { setTimeout as pause, setImmediate as yieldToLoop } from 'node:timers/promises';
import { CloveError, errorToData } from '../../errors/index.ts';

export const REPLAY_STATES = ['idle', 'running', 'paused', 'completed', 'error'] as const;
export type ReplayState = (typeof REPLAY_STATES)[number];

/** Calls that change what the kernel keeps, and nothing outside it. All others are skipped. */
const REPLAYED: ReadonlySet<string> = new Set([
  'STORE',
  'DELETE',
  'CAS',
  'SEND',
  'BROADCAST',
  'REGISTER',
  'SUBSCRIBE',
  'UNSUBSCRIBE',
  'EMIT',
]);
/** Calls between two looks at what else there is to do. */
const SLICE = 16;
const MAX_ERRORS = 100;
/** How long a full mailbox or quota may hold the replay up. */
const OVERLOAD_PAUSE_MS = 50;
const MAX_OVERLOAD_PAUSES = 100;

export interface ReplayedCall {
  readonly opcode: number;
  /** Of the entry; '' = look it up. */
  readonly payload: string;
  readonly success: boolean;
}

export interface StateReplayStatus {
  readonly state: ReplayState;
  readonly total: number;
  /** Entries dealt with. */
  readonly current: number;
  readonly replayed: number;
  readonly skipped: number;
  readonly errors: readonly string[];
}

export interface Performer {
  nameOf(opcode: number): string | null;
  /** @throws what the call was refused with */
  perform(opcode: number, payload: string): Promise<unknown>;
}

/** The entries of a recording as RECORD_STATUS exports it. @throws BAD_REQUEST */
export function importEntries(data: unknown): ReplayedCall[] {
  let value = data;
  if (typeof value === 'string') {
    try {
      value = JSON.parse(value);
    } catch {
      throw importFailure('it is not JSON');
    }
  }
  if (!Array.isArray(value)) throw importFailure('it is not an array of entries');
  return value.map((each, index) => importEntry(each, index));
}

/** Unknown members are nobody's business, missing ones have defaults. */
function importEntry(value: unknown, index: number): ReplayedCall {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw importFailure(`entry ${index} is not an object`);
  }
  const { opcode = 0, payload = '', success = true } = value as Record<string, unknown>;
  if (typeof opcode !== 'number' || !Number.isInteger(opcode) || opcode < 0 || opcode > 255) {
    throw importFailure(`opcode of entry ${index}`);
  }
  if (typeof payload !== 'string') throw importFailure(`payload of entry ${index}`);
  if (typeof success !== 'boolean') throw importFailure(`success of entry ${index}`);
  return { opcode, payload, success };
}

function importFailure(reason: string): CloveError {
  return new CloveError('BAD_REQUEST', 'Failed to import recording data', { details: { reason } });
}

/**
 * Brings back what a recording did to the kernel: its calls that change state, messages and names are made again, in their
 * order, by whoever asks for it. One at a time; it goes on behind the answer, and ends with its caller.
 */
export class StateReplay {
  #state: ReplayState = 'idle';
  #total = 0;
  #current = 0;
  #replayed = 0;
  #skipped = 0;
  #errors: string[] = [];
  #done: Promise<void> = Promise.resolve();

  get status(): StateReplayStatus {
    return {
      state: this.#state,
      total: this.#total,
      current: this.#current,
      replayed: this.#replayed,
      skipped: this.#skipped,
      errors: this.#errors,
    };
  }

  /** Resolves when no replay runs. */
  get done(): Promise<void> {
    return this.#done;
  }

  /** @throws CONFLICT, BAD_REQUEST */
  start(calls: readonly ReplayedCall[], performer: Performer, signal: AbortSignal): void {
    if (this.#state === 'running' || this.#state === 'paused') {
      throw new CloveError('CONFLICT', 'Replay already in progress');
    }
    if (calls.length === 0) throw new CloveError('BAD_REQUEST', 'No recording loaded');
    this.#state = 'running';
    this.#total = calls.length;
    this.#current = 0;
    this.#replayed = 0;
    this.#skipped = 0;
    this.#errors = [];
    this.#done = this.#run(calls, performer, signal);
  }

  async #run(calls: readonly ReplayedCall[], performer: Performer, signal: AbortSignal): Promise<void> {
    for (const [index, call] of calls.entries()) {
      if (index % SLICE === 0) await yieldToLoop();
      if (signal.aborted) {
        this.#fail(index, 'its caller has left');
        this.#state = 'error';
        return;
      }
      const name = performer.nameOf(call.opcode);
      if (name === null || !REPLAYED.has(name) || !call.success) this.#skipped += 1;
      else await this.#replay(index, name, call, performer, signal);
      this.#current = index + 1;
    }
    this.#state = this.#errors.length === 0 ? 'completed' : 'error';
  }

  async #replay(
    index: number,
    name: string,
    call: ReplayedCall,
    performer: Performer,
    signal: AbortSignal,
  ): Promise<void> {
    for (let pauses = 0; ; pauses += 1) {
      try {
        await performer.perform(call.opcode, call.payload);
        this.#state = 'running';
        this.#replayed += 1;
        return;
      } catch (error) {
        const { code, message } = errorToData(error);
        if (code !== 'OVERLOAD' || pauses >= MAX_OVERLOAD_PAUSES || signal.aborted) {
          this.#state = 'running';
          this.#fail(index, `${name}: ${message}`);
          return;
        }
        this.#state = 'paused';
        await pause(OVERLOAD_PAUSE_MS);
      }
    }
  }

  #fail(index: number, message: string): void {
    if (this.#errors.length < MAX_ERRORS) this.#errors.push(`entry ${index + 1}: ${message}`);
  }
}
