import { Luck } from '../luck/streams.ts';
import { type NetworkInput, networkSchema, servicesSchema } from './schema.ts';
import type { NetworkCaller, NetworkClock } from './types.ts';
import { createVirtualNetwork, type NetworkSurroundings, type VirtualNetwork } from './virtual.ts';

/** 2026-01-01T00:00:00Z */
export const START_MS = 1_767_225_600_000;

/** A clock that jumps over every wait, and remembers how long they were. */
export class JumpingClock implements NetworkClock {
  #now = START_MS;
  readonly slept: number[] = [];
  leases = 0;

  nowMs(): number {
    return this.#now;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.slept.push(ms);
    await Promise.resolve();
    this.#now += ms;
  }

  lease(): Disposable {
    this.leases += 1;
    return {
      [Symbol.dispose]: () => {
        this.leases -= 1;
      },
    };
  }
}

export const ALICE: NetworkCaller = { agentId: 7, agentName: 'alice' };
export const BOB: NetworkCaller = { agentId: 8, agentName: 'bob' };

export interface TestNetwork {
  readonly network: VirtualNetwork;
  readonly clock: JumpingClock;
}

export async function testNetwork(
  definition: NetworkInput,
  services: Record<string, unknown> = {},
  surroundings: Partial<NetworkSurroundings> & { readonly seed?: number } = {},
): Promise<TestNetwork> {
  const clock = new JumpingClock();
  const network = await createVirtualNetwork(
    { network: networkSchema.parse(definition), services: servicesSchema.parse(services) },
    { clock, luck: new Luck(surroundings.seed ?? 1), ...surroundings },
  );
  return { network, clock };
}
