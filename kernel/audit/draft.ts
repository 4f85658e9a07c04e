import type { ErrorCode } from '../../errors/index.ts';
import type { CallEntry } from '../store/record-chunk.ts';
import type { Draft } from '../store/record-queue.ts';

/** BEGUN: written ahead of the effect, whose own record tells what came of it. */
export type Outcome = 'OK' | 'BEGUN' | ErrorCode;

/** A record on its way to the disk, and who waits for it to be there. */
export abstract class AuditDraft implements Draft {
  readonly chain: number;
  readonly agentId: number;
  outcome: Outcome = 'OK';
  #state: 'made' | 'attached' | 'queued' | 'durable' | 'delayed' = 'made';
  #reason: string | null = null;
  #waiting: PromiseWithResolvers<string | null> | null = null;

  constructor(chain: number, agentId: number) {
    this.chain = chain;
    this.agentId = agentId;
  }

  abstract content(): string | CallEntry;

  /** It has been handed over: by itself, or with the write that it belongs to. */
  get isUnderWay(): boolean {
    return this.#state !== 'made';
  }

  queued(): void {
    this.#state = 'queued';
  }

  attached(): void {
    this.#state = 'attached';
  }

  committed(): void {
    this.#settle('durable', null);
  }

  undone(): void {
    this.outcome = 'IO';
    this.#state = 'queued';
  }

  delayed(reason: string): void {
    if (this.#state !== 'durable') this.#settle('delayed', reason);
  }

  /** Resolves to null when it is on disk, to the reason when it cannot be written now. */
  whenSettled(): Promise<string | null> {
    if (this.#state === 'durable') return Promise.resolve(null);
    if (this.#state === 'delayed') return Promise.resolve(this.#reason);
    this.#waiting ??= Promise.withResolvers<string | null>();
    return this.#waiting.promise;
  }

  get isDurable(): boolean {
    return this.#state === 'durable';
  }

  #settle(state: 'durable' | 'delayed', reason: string | null): void {
    this.#state = state;
    this.#reason = reason;
    this.#waiting?.resolve(reason);
    this.#waiting = null;
  }
}

let cachedMs = Number.NaN;
let cachedText = '';

/** As Date.toISOString(), which takes longer than the rest of a record: many of them are of the same millisecond. */
export function isoTime(wallMs: number): string {
  if (wallMs !== cachedMs) {
    cachedText = new Date(wallMs).toISOString();
    cachedMs = wallMs;
  }
  return cachedText;
}
