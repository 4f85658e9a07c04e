import { randomFillSync } from 'node:crypto';

const POOL_BYTES = 8192;

/** Random ids in hex. Drawn in one go for many: each draw by itself takes longer than everything else about a span. */
export class RandomIds {
  readonly #pool = Buffer.alloc(POOL_BYTES);
  #at = POOL_BYTES;

  /** 2 × `bytes` hex digits. */
  next(bytes: number): string {
    if (this.#at + bytes > POOL_BYTES) {
      randomFillSync(this.#pool);
      this.#at = 0;
    }
    const start = this.#at;
    this.#at += bytes;
    return this.#pool.toString('hex', start, this.#at);
  }
}
