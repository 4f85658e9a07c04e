import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import type { Draws } from './draws.ts';
import { compileGlob, hostMatcher } from './patterns.ts';
import { faultSchema } from './schema.ts';
import type { ActiveFault, FaultKind, FaultSpec, NetworkCaller, NetworkFaults } from './types.ts';

type SpecOf<Kind extends FaultKind> = Extract<FaultSpec, { readonly kind: Kind }>;

interface Live {
  readonly handle: string;
  readonly spec: FaultSpec;
  readonly since: number;
  readonly isMeant: (host: string, caller: NetworkCaller) => boolean;
  hits: number;
}

/** Six losses in a row: what a connection survives of retransmissions before it is given up. */
const MOST_LOSSES = 6;
const RETRANSMIT_MS = 200;

/** What is wrong with the network at present, and for whom. */
export class FaultBoard implements NetworkFaults {
  readonly #live = new Map<string, Live>();
  readonly #now: () => number;
  readonly #draws: Draws;
  readonly #listeners = new Set<() => void>();
  lastFault = 0;

  constructor(draws: Draws, now: () => number) {
    this.#draws = draws;
    this.#now = now;
  }

  set(spec: FaultSpec): string {
    const checked = faultSchema.safeParse(spec);
    if (!checked.success)
      throw new CloveError('BAD_REQUEST', `no such fault: ${z.prettifyError(checked.error)}`);
    this.lastFault += 1;
    const handle = `fault-${this.lastFault}`;
    this.#add(handle, checked.data, this.#now());
    return handle;
  }

  clear(handle: string): boolean {
    const was = this.#live.delete(handle);
    if (was) this.#changed();
    return was;
  }

  clearAll(): void {
    this.#live.clear();
    this.#changed();
  }

  list(): readonly ActiveFault[] {
    return [...this.#live.values()].map(({ handle, spec, since, hits }) => ({ handle, spec, since, hits }));
  }

  restore(
    faults: readonly { readonly handle: string; readonly spec: FaultSpec; readonly since: number }[],
  ): void {
    this.#live.clear();
    for (const { handle, spec, since } of faults) this.#add(handle, faultSchema.parse(spec), since);
  }

  /** Called whenever a fault comes or goes: connections that are open look again. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The faults of one kind that are meant for this caller and host; counts them as hits when `hit`. */
  of<Kind extends FaultKind>(kind: Kind, host: string, caller: NetworkCaller): SpecOf<Kind>[] {
    if (this.#live.size === 0) return [];
    const found: SpecOf<Kind>[] = [];
    for (const live of this.#live.values()) {
      if (live.spec.kind !== kind || !live.isMeant(host, caller)) continue;
      found.push(live.spec as SpecOf<Kind>);
    }
    return found;
  }

  /** Draws for a fault that comes with a probability; null = it does not strike this time. */
  strike<Kind extends FaultKind>(kind: Kind, host: string, caller: NetworkCaller): SpecOf<Kind> | null {
    for (const live of this.#live.values()) {
      if (live.spec.kind !== kind || !live.isMeant(host, caller)) continue;
      const probability = 'probability' in live.spec ? (live.spec.probability ?? 1) : 1;
      if (!this.#draws.chance(`fault/${caller.agentName}/${live.handle}`, probability)) continue;
      live.hits += 1;
      return live.spec as SpecOf<Kind>;
    }
    return null;
  }

  /** Delay in ms that latency faults add to one message. */
  latencyMs(host: string, caller: NetworkCaller): number {
    let total = 0;
    for (const live of this.#live.values()) {
      if (live.spec.kind !== 'latency' || !live.isMeant(host, caller)) continue;
      live.hits += 1;
      const { ms, jitterMs = 0 } = live.spec;
      const jitter =
        jitterMs === 0
          ? 0
          : (this.#draws.next(`jitter/${caller.agentName}/${live.handle}`).next() * 2 - 1) * jitterMs;
      total += Math.max(0, ms + jitter);
    }
    return total;
  }

  /** The narrowest bandwidth, null = not limited. */
  bytesPerSecond(host: string, caller: NetworkCaller): number | null {
    const limits = this.of('bandwidth', host, caller).map((spec) => spec.bytesPerSecond);
    return limits.length === 0 ? null : Math.min(...limits);
  }

  /** How long one message waits for its retransmissions; `Infinity` = the connection is lost. */
  lossMs(host: string, caller: NetworkCaller): number {
    let total = 0;
    for (const live of this.#live.values()) {
      if (live.spec.kind !== 'loss' || !live.isMeant(host, caller)) continue;
      const { probability, retransmitMs = RETRANSMIT_MS } = live.spec;
      for (
        let lost = 0;
        this.#draws.chance(`loss/${caller.agentName}/${live.handle}`, probability);
        lost += 1
      ) {
        if (lost === 0) live.hits += 1;
        if (lost === MOST_LOSSES) return Number.POSITIVE_INFINITY;
        total += retransmitMs * 2 ** lost;
      }
    }
    return total;
  }

  #add(handle: string, spec: FaultSpec, since: number): void {
    const isHost = hostMatcher(spec.hosts);
    const agents = spec.agents?.map(compileGlob);
    const isMeant = (host: string, { agentName }: NetworkCaller) =>
      isHost(host) && (agents === undefined || agents.some((is) => is(agentName)));
    this.#live.set(handle, { handle, spec, since, isMeant, hits: 0 });
    this.#changed();
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
