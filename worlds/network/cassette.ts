import { createHash } from 'node:crypto';
import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import type { Exchange } from './exchange.ts';

const recorded = z.strictObject({
  method: z.string(),
  url: z.string(),
  /** Of the request's body; '' = none. */
  bodySha256: z.string(),
  status: z.int().min(200).max(599),
  headers: z.array(z.tuple([z.string(), z.string()])),
  body: z.string(),
  encoding: z.enum(['utf8', 'base64']),
});
export type Recorded = z.output<typeof recorded>;

/** Headers that say who somebody is: a cassette is a file that gets shared. */
const SECRET = new Set([
  'set-cookie',
  'authorization',
  'www-authenticate',
  'proxy-authenticate',
  'x-api-key',
]);
/** Of the connection, not of the response; the body is kept decoded. */
const OF_CONNECTION = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'content-length',
  'content-encoding',
  'upgrade',
]);

/** Of all answers together that are kept while recording, and of their requests. */
const MAX_BYTES = 64 * 2 ** 20;
/** What an answer takes up besides its body, address and headers. */
const ENTRY_BYTES = 512;

/** What real hosts answered, in order per request; requests are the same when method, URL and body are. */
export class Cassette {
  #entries: Recorded[] = [];
  readonly #byKey = new Map<string, Recorded[]>();
  #position = new Map<string, number>();
  readonly #maxBytes: number;
  #bytes = 0;
  #dropped = 0;

  constructor(maxBytes = MAX_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Answers that were not kept because there was no room for them. */
  get dropped(): number {
    return this.#dropped;
  }

  get size(): number {
    return this.#entries.length;
  }

  /** @throws DATA_CORRUPT */
  load(entries: readonly unknown[]): void {
    this.#entries = [];
    this.#bytes = 0;
    this.#dropped = 0;
    this.#byKey.clear();
    this.#position.clear();
    for (const [index, entry] of entries.entries()) {
      const checked = recorded.safeParse(entry);
      if (!checked.success)
        throw new CloveError('DATA_CORRUPT', `cassette entry ${index}: ${z.prettifyError(checked.error)}`);
      this.#add(checked.data);
    }
  }

  /** Once there is no room for an answer none is kept any more: what is replayed is the beginning, not a part with holes. */
  async keep(exchange: Exchange, response: Response): Promise<void> {
    if (this.#dropped > 0) {
      this.#dropped += 1;
      await response.body?.cancel();
      return;
    }
    const bytes = new Uint8Array(await response.arrayBuffer());
    const text = utf8(bytes);
    const entry: Recorded = {
      method: exchange.request.method,
      url: exchange.url.href,
      bodySha256: hashOf(exchange.body),
      status: response.status,
      headers: [...response.headers].filter(([name]) => !SECRET.has(name) && !OF_CONNECTION.has(name)),
      body: text ?? Buffer.from(bytes).toString('base64'),
      encoding: text === null ? 'base64' : 'utf8',
    };
    if (this.#bytes + sizeOf(entry) > this.#maxBytes || this.#dropped > 0) this.#dropped += 1;
    else this.#add(entry);
  }

  /** The next answer to this request; after the last one that again. null = there is none. */
  play(exchange: Exchange): Response | null {
    const key = keyOf(exchange.request.method, exchange.url.href, hashOf(exchange.body));
    const answers = this.#byKey.get(key);
    if (answers === undefined) return null;
    const position = this.#position.get(key) ?? 0;
    this.#position.set(key, position + 1);
    const { status, headers, body, encoding } = answers[Math.min(position, answers.length - 1)] as Recorded;
    const isNull = status === 204 || status === 205 || status === 304;
    return new Response(isNull ? null : Buffer.from(body, encoding), { status, headers });
  }

  snapshot(): { readonly entries: readonly Recorded[]; readonly position: Record<string, number> } {
    return { entries: [...this.#entries], position: Object.fromEntries(this.#position) };
  }

  restore(entries: readonly unknown[], position: Readonly<Record<string, number>>): void {
    this.load(entries);
    this.#position = new Map(Object.entries(position));
  }

  #add(entry: Recorded): void {
    this.#entries.push(entry);
    this.#bytes += sizeOf(entry);
    const key = keyOf(entry.method, entry.url, entry.bodySha256);
    this.#byKey.getOrInsertComputed(key, () => []).push(entry);
  }
}

function sizeOf({ url, headers, body }: Recorded): number {
  return (
    ENTRY_BYTES + url.length + body.length + headers.reduce((sum, [n, v]) => sum + n.length + v.length, 0)
  );
}

const keyOf = (method: string, url: string, bodySha256: string) => `${method} ${url} ${bodySha256}`;

function hashOf(body: Uint8Array): string {
  return body.length === 0 ? '' : createHash('sha256').update(body).digest('hex');
}

function utf8(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}
