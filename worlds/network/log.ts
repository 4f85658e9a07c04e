import { packageVersion } from '../../native/package.ts';
import { type Har, toHar } from './har.ts';
import { compileGlob, hostMatcher } from './patterns.ts';
import type { LoggedBody, NetworkLog, NetworkLogEntry, NetworkLogFilter } from './types.ts';

/** What the bodies of one log take up at most, whatever its number of entries. */
const MAX_BODY_BYTES = 64 * 2 ** 20;

function costOf({ requestBody, responseBody }: Omit<NetworkLogEntry, 'id'>): number {
  return (requestBody?.text.length ?? 0) + (responseBody?.text.length ?? 0);
}

/** Everything that was asked of a network, bounded: the oldest entries go, and how many went is said. */
export class RequestLog implements NetworkLog {
  readonly #capacity: number;
  readonly #bodyBytes: number;
  #entries: NetworkLogEntry[] = [];
  #dropped = 0;
  #bytes = 0;
  lastId = 0;
  readonly #listeners = new Set<(entry: NetworkLogEntry) => void>();

  constructor(capacity: number, bodyBytes: number) {
    this.#capacity = capacity;
    this.#bodyBytes = bodyBytes;
  }

  get dropped(): number {
    return this.#dropped;
  }

  get total(): number {
    return this.lastId;
  }

  add(entry: Omit<NetworkLogEntry, 'id'>): NetworkLogEntry {
    this.lastId += 1;
    const complete = { id: this.lastId, ...entry };
    this.#entries.push(complete);
    // Cut in pieces: taking one from the front of a long list each time would cost its length.
    this.#bytes += costOf(complete);
    if (this.#entries.length > this.#capacity * 1.25 + 16 || this.#bytes > MAX_BODY_BYTES * 1.25) this.#cut();
    for (const listener of this.#listeners) listener(complete);
    return complete;
  }

  #cut(): void {
    let surplus = Math.max(0, this.#entries.length - this.#capacity);
    let bytes = this.#bytes;
    for (const [index, entry] of this.#entries.entries()) {
      if (index >= surplus && bytes <= MAX_BODY_BYTES) break;
      bytes -= costOf(entry);
      surplus = Math.max(surplus, index + 1);
    }
    if (surplus === 0) return;
    this.#bytes = bytes;
    this.#entries = this.#entries.slice(surplus);
    this.#dropped += surplus;
  }

  entries(filter: NetworkLogFilter = {}): readonly NetworkLogEntry[] {
    this.#cut();
    const { agent, host, kind, outcome, method, after = 0, limit } = filter;
    const isHost = host === undefined ? null : hostMatcher([host]);
    const isAgent = typeof agent === 'string' ? compileGlob(agent) : null;
    const found = this.#entries.filter(
      (entry) =>
        entry.id > after &&
        (typeof agent !== 'number' || entry.agentId === agent) &&
        (isAgent === null || isAgent(entry.agentName)) &&
        (kind === undefined || entry.kind === kind) &&
        (outcome === undefined || entry.outcome === outcome) &&
        (method === undefined || entry.method === method.toUpperCase()) &&
        (isHost === null || isHost(hostOf(entry))),
    );
    return limit === undefined ? found : found.slice(0, limit);
  }

  toHar(filter: NetworkLogFilter = {}): Har {
    const entries = this.entries(filter).filter(({ kind }) => kind === 'http' || kind === 'websocket');
    return toHar(entries, packageVersion());
  }

  onEntry(listener: (entry: NetworkLogEntry) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** As much of a body as the log keeps. */
  keep(body: Uint8Array | null): LoggedBody | null {
    if (body === null) return null;
    const kept = body.subarray(0, this.#bodyBytes);
    const truncated = kept.length < body.length ? ({ truncated: true } as const) : {};
    try {
      // Cut in the middle of a character, text is still text: `stream` leaves the rest of it away.
      const text = new TextDecoder('utf-8', { fatal: true }).decode(kept, {
        stream: kept.length < body.length,
      });
      return { text, bytes: body.length, ...truncated };
    } catch {
      return {
        text: Buffer.from(kept).toString('base64'),
        encoding: 'base64',
        bytes: body.length,
        ...truncated,
      };
    }
  }
}

function hostOf({ kind, url }: NetworkLogEntry): string {
  return kind === 'dns' ? url : (URL.parse(url)?.hostname ?? url);
}
