import { CloveError } from '../../../errors/index.ts';
import type { FaultKind, NetworkCaller, NetworkClock, NetworkLogEntry } from '../types.ts';
import type { VirtualNetwork } from '../virtual.ts';

/** Pieces in which bandwidth is dealt out: small enough to be smooth, large enough to cost little. */
const PIECE_BYTES = 16_384;

/** One end of a real connection, as the faults of a world see it: who, to which host. */
export class Wire {
  readonly network: VirtualNetwork;
  readonly caller: NetworkCaller;
  readonly host: string;
  readonly faults = new Set<FaultKind>();

  constructor(network: VirtualNetwork, caller: NetworkCaller, host: string) {
    this.network = network;
    this.caller = caller;
    this.host = host;
  }

  get clock(): NetworkClock {
    return this.network.clock;
  }

  /** Lets one message through: waits as long as faults make it wait. @throws NETWORK_FAULT when the connection is to end */
  async pass(bytes: number, signal: AbortSignal): Promise<void> {
    const { faults } = this.network;
    const cut = (fault: FaultKind): never => {
      this.faults.add(fault);
      throw new CloveError('NETWORK_FAULT', `${fault}: the connection to ${this.host} ends`, {
        details: { fault },
      });
    };
    const partition = faults.strike('partition', this.host, this.caller);
    if (partition !== null) {
      this.faults.add('partition');
      await this.#held(partition.hangMs ?? 0, signal);
      if (faults.of('partition', this.host, this.caller).length > 0) cut('partition');
    }
    if (faults.strike('reset', this.host, this.caller) !== null) cut('reset');
    const lossMs = faults.lossMs(this.host, this.caller);
    if (lossMs > 0) this.faults.add('loss');
    if (lossMs === Number.POSITIVE_INFINITY) cut('loss');
    const latencyMs = faults.latencyMs(this.host, this.caller);
    if (latencyMs > 0) this.faults.add('latency');
    const waitMs = lossMs + latencyMs + this.#transferMs(bytes);
    if (waitMs > 0) await this.clock.sleep(waitMs, signal);
  }

  /** Only what bandwidth costs. */
  async pace(bytes: number, signal: AbortSignal): Promise<void> {
    const waitMs = this.#transferMs(bytes);
    if (waitMs > 0) await this.clock.sleep(waitMs, signal);
  }

  #transferMs(bytes: number): number {
    const perSecond = this.network.faults.bytesPerSecond(this.host, this.caller);
    if (perSecond === null) return 0;
    this.faults.add('bandwidth');
    return (bytes / perSecond) * 1000;
  }

  /** Until the time is over or a fault comes or goes. */
  async #held(ms: number, signal: AbortSignal): Promise<void> {
    if (ms === 0) return;
    const changed = new AbortController();
    const stop = this.network.faults.onChange(() => changed.abort());
    try {
      await this.clock.sleep(ms, AbortSignal.any([signal, changed.signal]));
    } catch (error) {
      if (!changed.signal.aborted) throw error;
    } finally {
      stop();
    }
  }

  log(
    entry: Pick<NetworkLogEntry, 'kind' | 'method' | 'url' | 'outcome' | 'matched'> &
      Partial<NetworkLogEntry>,
  ): void {
    const { agentId, agentName } = this.caller;
    this.network.log.add({
      agentId,
      agentName,
      at: this.clock.nowMs(),
      realAt: Date.now(),
      durationMs: 0,
      faults: [...this.faults],
      status: null,
      requestHeaders: [],
      requestBody: null,
      responseHeaders: [],
      responseBody: null,
      ...entry,
    });
  }
}

export function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}
