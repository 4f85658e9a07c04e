import type { CallRecord } from './records.ts';

/** Records of calls that have not ended, by their requests. Most calls end before the next begins: those cost no look-up. */
export class OpenRecords {
  readonly #others = new Map<object, CallRecord>();
  #lastRequest: object | null = null;
  #lastRecord: CallRecord | null = null;

  set(request: object, record: CallRecord): void {
    if (this.#lastRequest !== null && this.#lastRecord !== null) {
      this.#others.set(this.#lastRequest, this.#lastRecord);
    }
    this.#lastRequest = request;
    this.#lastRecord = record;
  }

  get(request: object): CallRecord | null {
    if (request === this.#lastRequest) return this.#lastRecord;
    return this.#others.size === 0 ? null : (this.#others.get(request) ?? null);
  }

  /** It has ended, or will be recorded in another way. */
  take(request: object): CallRecord | null {
    const record = this.get(request);
    if (request === this.#lastRequest) {
      this.#lastRequest = null;
      this.#lastRecord = null;
    } else if (record !== null) this.#others.delete(request);
    return record;
  }
}
