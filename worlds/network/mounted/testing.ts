import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Outcome, runToEnd, type SpecChanges } from '../../../native/sandbox-testing.ts';
import { Luck } from '../../luck/streams.ts';
import { type NetworkInput, networkSchema, servicesSchema } from '../schema.ts';
import type { NetworkClock } from '../types.ts';
import { createVirtualNetwork } from '../virtual.ts';
import { createAuthority } from './authority.ts';
import { type AgentNetwork, MountedNetwork } from './network.ts';

/** The host's time, for real clients. */
export const realClock: NetworkClock = {
  nowMs: () => Date.now(),
  sleep: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
  lease: () => ({ [Symbol.dispose]: () => undefined }),
};

export interface TestWorld extends AsyncDisposable {
  readonly network: MountedNetwork['network'];
  readonly mounted: MountedNetwork;
  /** An agent of this name, made when first asked for. */
  agent(name: string): Promise<AgentNetwork>;
  /** Runs argv to its end as an agent. */
  run(name: string, argv: readonly string[], changes?: SpecChanges): Promise<Outcome>;
  /** Runs a script of the shell as an agent. */
  shell(name: string, script: string, changes?: SpecChanges): Promise<Outcome>;
}

export async function testWorld(
  definition: NetworkInput,
  services: Record<string, unknown> = {},
): Promise<TestWorld> {
  const network = await createVirtualNetwork(
    { network: networkSchema.parse(definition), services: servicesSchema.parse(services) },
    { clock: realClock, luck: new Luck(1) },
  );
  const folder = mkdtempSync(path.join(os.tmpdir(), 'clove-world-'));
  const mounted = await MountedNetwork.open(
    network,
    await createAuthority('test', () => Date.now()),
    path.join(folder, 'ca'),
  );
  const agents = new Map<string, Promise<AgentNetwork>>();
  const agent = (name: string) =>
    agents.getOrInsertComputed(name, () => mounted.attach({ agentId: agents.size + 1, agentName: name }));
  const run = async (
    name: string,
    argv: readonly string[],
    { env, mounts, ...changes }: SpecChanges = {},
  ) => {
    const part = await agent(name);
    return runToEnd(argv, {
      ...changes,
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/work', ...part.env, ...env },
      mounts: [...part.mounts, ...(mounts ?? [])],
      world: {
        netnsFd: part.netnsFd,
        trees: [],
        resolv: part.resolv,
        hosts: null,
        layers: { netns: part.how },
      },
      limits: {
        memoryBytes: 512 * 2 ** 20,
        tmpfsBytes: 32 * 2 ** 20,
        tmpfsInodes: 4096,
        maxOpenFiles: 1024,
        ...changes.limits,
      },
    });
  };
  return {
    network,
    mounted,
    agent,
    run,
    shell: (name, script, changes) => run(name, ['/bin/sh', '-c', script], changes),
    async [Symbol.asyncDispose]() {
      network.close();
      await mounted.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
