import { hash } from 'node:crypto';
import type { NetworkLogEntry } from '../network/types.ts';
import type { World } from '../world.ts';

/** Text of events that one journal keeps; of later ones only the digest. */
const KEPT_BYTES = 64 * 2 ** 20;

/** Nonces of one connection: drawn by the client anew each time, and of no meaning to anybody. */
const NONCES = new Set(['sec-websocket-key', 'sec-websocket-accept']);

export interface JournalEvent {
  /** Who or what it comes from: events of one source have an order in every mode. */
  readonly source: string;
  /** On the world's clock since its start. */
  readonly atMs: number;
  /** JSON, or the digest of it where too much was kept already. */
  readonly text: string;
}

/** All that happened in a world, in the order in which it happened there. `exact`: with the times. */
export class Journal {
  readonly events: JournalEvent[] = [];
  readonly #exact: boolean;
  readonly #stops: (() => void)[] = [];
  #nowMs: () => number = () => 0;
  #bytes = 0;

  constructor(exact: boolean) {
    this.#exact = exact;
  }

  /** What the world tells its watchers: its schedule and its chaos. May come before {@link Journal.follow}. */
  changed(what: Readonly<Record<string, unknown>>): void {
    const { world_ms, since_ms, ended_ms, event_id: _, ...told } = what;
    const kind = what.change === 'schedule' ? 'schedule' : 'chaos';
    const ended = ended_ms === undefined ? {} : { ended: ended_ms !== null };
    const times = this.#exact ? { world_ms, since_ms, ended_ms } : {};
    this.#add(kind, { ...told, ...ended, ...times });
  }

  follow(world: World): void {
    const { clock, network, files } = world.parts;
    this.#nowMs = () => clock.monotonicMs();
    const startMs = clock.nowMs() - clock.monotonicMs();
    if (network !== null)
      this.#stops.push(
        network.log.onEntry((entry) => this.#add(sourceOf(entry), this.#request(entry, startMs))),
      );
    if (files !== null)
      this.#stops.push(
        files.onChange(({ atMs, ...change }) =>
          this.#add(`files of ${nameOf(world, change.agentId)}`, this.#exact ? { ...change, atMs } : change),
        ),
      );
  }

  stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }

  #request(entry: NetworkLogEntry, startMs: number): object {
    const { id: _, realAt: _real, at, durationMs, ...told } = entry;
    const headers = (list: NetworkLogEntry['requestHeaders']) =>
      list.filter(([name]) => {
        const lower = name.toLowerCase();
        return !NONCES.has(lower) && (this.#exact || lower !== 'date');
      });
    return {
      ...told,
      requestHeaders: headers(told.requestHeaders),
      responseHeaders: headers(told.responseHeaders),
      ...(this.#exact ? { at_ms: at - startMs, duration_ms: durationMs } : {}),
    };
  }

  #add(source: string, what: object): void {
    const whole = JSON.stringify(what);
    this.#bytes += whole.length;
    const text = this.#bytes <= KEPT_BYTES ? whole : `sha256:${hash('sha256', whole, 'hex')}`;
    this.events.push({ source, atMs: this.#nowMs(), text });
  }
}

/** DNS asks for both families at once, over one socket: whichever is served first. */
function sourceOf({ kind, agentName, method }: NetworkLogEntry): string {
  return `${kind} of ${agentName === '' ? 'an agent' : agentName}${kind === 'dns' ? ` (${method})` : ''}`;
}

function nameOf(world: World, id: number): string {
  return id === 0 ? 'the world' : (world.memberOf(id)?.name ?? `agent ${id}`);
}
