import { CloveError } from '../../errors/index.ts';

export interface SlotLimits {
  readonly perCaller: number;
  readonly total: number;
}

/** Places for work that takes long: some for each caller, and a number for all of them together. */
export class Slots {
  readonly #what: string;
  readonly #limits: SlotLimits;
  readonly #byCaller = new Map<number, number>();
  #total = 0;

  /** `what`: plural, for the words of the refusal. */
  constructor(what: string, limits: SlotLimits) {
    this.#what = what;
    this.#limits = limits;
  }

  get total(): number {
    return this.#total;
  }

  /** @throws OVERLOAD, or what `work` throws */
  async use<Result>(callerId: number, work: () => Promise<Result>): Promise<Result> {
    const count = this.#byCaller.get(callerId) ?? 0;
    if (count >= this.#limits.perCaller) {
      throw new CloveError('OVERLOAD', `${count} ${this.#what} of this caller run already`);
    }
    if (this.#total >= this.#limits.total) {
      throw new CloveError('OVERLOAD', `${this.#total} ${this.#what} run already`);
    }
    this.#byCaller.set(callerId, count + 1);
    this.#total += 1;
    try {
      return await work();
    } finally {
      this.#total -= 1;
      const left = (this.#byCaller.get(callerId) ?? 1) - 1;
      if (left === 0) this.#byCaller.delete(callerId);
      else this.#byCaller.set(callerId, left);
    }
  }
}

export interface RoomLimits {
  readonly perCallerBytes: number;
  readonly totalBytes: number;
}

/** Memory that work in progress may take up: of one caller, and of all. */
export class ByteRoom {
  readonly #limits: RoomLimits;
  readonly #byCaller = new Map<number, number>();
  #totalBytes = 0;

  constructor(limits: RoomLimits) {
    this.#limits = limits;
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  bytesOf(callerId: number): number {
    return this.#byCaller.get(callerId) ?? 0;
  }

  /** False = there is no room, and none was taken. */
  take(callerId: number, bytes: number): boolean {
    const taken = this.bytesOf(callerId) + bytes;
    if (taken > this.#limits.perCallerBytes || this.#totalBytes + bytes > this.#limits.totalBytes)
      return false;
    this.#byCaller.set(callerId, taken);
    this.#totalBytes += bytes;
    return true;
  }

  give(callerId: number, bytes: number): void {
    this.#totalBytes -= bytes;
    const left = this.bytesOf(callerId) - bytes;
    if (left > 0) this.#byCaller.set(callerId, left);
    else this.#byCaller.delete(callerId);
  }
}
