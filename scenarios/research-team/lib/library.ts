import type { CloveClient } from 'clove/sdk';

const TRIES = 5;
const PAUSE_MS = 2000;

/** Asks a library that is slow, fails now and then, and does not like haste. */
export class Library {
  readonly #clove: CloveClient;
  readonly #untilMs: number;
  /** Pages that could not be had. */
  unread = 0;
  /** Nothing more is to be had: the time is up, or the budget of all is spent. */
  isOver = false;

  constructor(clove: CloveClient, untilMs: number) {
    this.#clove = clove;
    this.#untilMs = untilMs;
  }

  /** The JSON of a page; null = it could not be had, or is not to be had any more. */
  async page<T>(url: string): Promise<T | null> {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const { monotonic_ms: nowMs } = await this.#clove.waitInWorld({ ms: 0 });
      if (nowMs >= this.#untilMs) this.isOver = true;
      if (this.isOver) return null;
      const answer = await this.#clove.http(url).catch(() => null);
      if (answer?.status_code === 402) {
        this.isOver = true;
        return null;
      }
      if (answer?.status_code === 200) {
        const page = parsed<T>(answer.body);
        if (page !== null) return page;
      } else if (answer?.status_code === 404) break;
      const seconds = Number(answer?.headers['retry-after']);
      // Haste is no failure of the page.
      if (answer?.status_code === 429) attempt -= 1;
      const pauseMs = Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : PAUSE_MS;
      await this.#clove.waitInWorld({ untilMs: Math.min(this.#untilMs, nowMs + pauseMs) });
    }
    this.unread += 1;
    return null;
  }
}

function parsed<T>(text: string): T | null {
  try {
    return JSON.parse(text) as T;
  } catch {
    return null;
  }
}
