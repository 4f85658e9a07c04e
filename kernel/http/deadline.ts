import { CloveError } from '../../errors/index.ts';

/** Ends by its time or with another signal, whichever comes first; the reason is the error to answer with. */
export class Deadline implements Disposable {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #parent: AbortSignal;
  readonly #onParent = () => this.#controller.abort(new CloveError('CANCELLED', 'the call was cancelled'));

  constructor(parent: AbortSignal, timeoutMs: number, what: string) {
    this.#parent = parent;
    this.#timer = setTimeout(() => {
      this.#controller.abort(new CloveError('TIMEOUT', `${what} timeout after ${timeoutMs / 1000} s`));
    }, timeoutMs);
    parent.addEventListener('abort', this.#onParent, { once: true });
    if (parent.aborted) this.#onParent();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** For what cannot be told to stop: no longer waited for. @throws the reason */
  async race<Result>(work: Promise<Result>): Promise<Result> {
    const { promise, reject } = Promise.withResolvers<never>();
    const onAbort = () => reject(this.signal.reason);
    this.signal.addEventListener('abort', onAbort, { once: true });
    if (this.signal.aborted) onAbort();
    try {
      return await Promise.race([work, promise]);
    } finally {
      this.signal.removeEventListener('abort', onAbort);
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#parent.removeEventListener('abort', this.#onParent);
  }
}
