/**
 * What the network and the files of worlds cost: requests to a mock by the interface of a virtual world, the same over real
 * sockets of a mounted one (plain and TLS, connections kept), and the making of a mounted world.
 * Usage: node bench/micro/world-network.ts [requests=20000] [worlds=20]. Needs root.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { type Agent, Agent as HttpAgent, get as httpGet } from 'node:http';
import { Agent as HttpsAgent, get as httpsGet } from 'node:https';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect as connectTls } from 'node:tls';
import { worldSchema } from '../../worlds/definition.ts';
import { BlockStore } from '../../worlds/filesystem/blocks.ts';
import { createMountedWorld } from '../../worlds/mounted-world.ts';

const [requests = 20_000, worlds = 20] = process.argv.slice(2).map(Number);
const CONNECTIONS = 16;
const folder = mkdtempSync(path.join(tmpdir(), 'clove-bench-world-'));
const definition = worldSchema.parse({
  clock: { mode: 'real' },
  files: {
    initial: Object.fromEntries(
      Array.from({ length: 50 }, (_, index) => [`/app/f${index}`, 'x'.repeat(200)]),
    ),
  },
  network: {
    routes: [{ host: 'api.test', path: '/v1/:id', json: { id: '{{params.id}}' } }],
    limits: { log_entries: 1000 },
  },
});

const make = (index: number) =>
  createMountedWorld({
    id: `b${index}`,
    name: 'bench',
    ownerId: 0,
    seed: 1,
    definition,
    origin: { kind: 'inline', definition: {} },
    folder: null,
    blocks: new BlockStore(),
    outside: {
      members: { list: () => [], crash: () => {}, pause: async () => {}, resume: async () => {} },
      send: () => {},
      emit: () => {},
      changed: () => {},
    },
    upstream: null,
    hostFolder: path.join(folder, `w${index}`),
    pidOf: () => null,
  });

const caller = { agentId: 1, agentName: 'bench' };
const perSecond = (count: number, ms: number) => `${Math.round((count / ms) * 1000)} requests/s`;

try {
  const world = await make(0);
  const network = world.world.parts.network;
  if (network === null || world.network === null) throw new Error('the world has no network');

  const asked = async (count: number) => {
    for (let n = 0; n < count; n += 1)
      await (await network.fetch(new Request(`https://api.test/v1/${n}`), caller)).arrayBuffer();
  };
  await asked(requests / 10);
  let begun = performance.now();
  await asked(requests);
  console.log(`virtual, one after the other: ${perSecond(requests, performance.now() - begun)}`);

  const attached = await world.network.attach(caller);
  const ca = world.network.certificate;
  // A socket from inside of the agent's namespace: what a process there would open.
  const { connectFromInside } = await import('./inside.ts');
  const open = (port: number) => connectFromInside(attached.netnsFd, '198.18.0.1', port);
  for (const kind of ['HTTP', 'HTTPS'] as const) {
    const sockets: Socket[] = [];
    for (let n = 0; n < CONNECTIONS; n += 1) sockets.push(await open(kind === 'HTTP' ? 80 : 443));
    const agent: Agent =
      kind === 'HTTP'
        ? Object.assign(new HttpAgent({ keepAlive: true, maxSockets: CONNECTIONS }), {
            createConnection: () => sockets.pop(),
          })
        : Object.assign(new HttpsAgent({ keepAlive: true, maxSockets: CONNECTIONS }), {
            createConnection: () =>
              connectTls({ socket: sockets.pop() as Socket, servername: 'api.test', ca }),
          });
    const get = kind === 'HTTP' ? httpGet : httpsGet;
    const one = (n: number) =>
      new Promise<void>((done, fail) => {
        get({ host: 'api.test', path: `/v1/${n}`, agent }, (response) => {
          response.on('end', done).on('error', fail).resume();
        }).on('error', fail);
      });
    const run = async (count: number) => {
      let next = 0;
      await Promise.all(
        Array.from({ length: CONNECTIONS }, async () => {
          for (; next < count; next += 1) await one(next);
        }),
      );
    };
    await run(requests / 20);
    begun = performance.now();
    await run(requests / 2);
    console.log(
      `mounted, ${kind}, ${CONNECTIONS} connections, client in the same process: ${perSecond(requests / 2, performance.now() - begun)}`,
    );
    agent.destroy();
  }
  await world.close();

  const times: Record<'made' | 'made, processor time' | 'attached' | 'closed', number[]> = {
    made: [],
    'made, processor time': [],
    attached: [],
    closed: [],
  };
  for (let index = 1; index <= worlds; index += 1) {
    begun = performance.now();
    const cpu = process.cpuUsage();
    const fresh = await make(index);
    times.made.push(performance.now() - begun);
    const { user, system } = process.cpuUsage(cpu);
    times['made, processor time'].push((user + system) / 1000);
    begun = performance.now();
    const agent = fresh.attach({ id: 1, name: 'bench' });
    const parts = await agent.prepare({
      agentId: 1,
      agentName: 'bench',
      uid: 1,
      gid: 1,
      instance: 'x',
      cgroupParent: 'x',
      targets: [],
    });
    parts.launched(null);
    times.attached.push(performance.now() - begun);
    begun = performance.now();
    await agent.detach();
    await fresh.close();
    times.closed.push(performance.now() - begun);
  }
  for (const [name, list] of Object.entries(times)) {
    const sorted = list.toSorted((a, b) => a - b);
    const at = (share: number) =>
      (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number).toFixed(1);
    console.log(
      `mounted world ${name}: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, max ${at(1)} ms (${worlds} worlds, 50 files)`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
