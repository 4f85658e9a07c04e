import { describe, expect, it } from 'vitest';
import { testSpec } from '../../native/sandbox-testing.ts';
import type { Sandbox, SandboxSpec, SandboxWorld } from '../../native/types.ts';
import { type AttachedParts, type Attachment, combineAttachments, launchAttached } from './attachment.ts';

const INCARNATION = {
  agentId: 1,
  agentName: 'a',
  uid: 1,
  gid: 1,
  instance: 'i',
  cgroupParent: 'c',
  targets: [],
};
const NO_WORLD: SandboxWorld = { netnsFd: null, trees: [], resolv: null, hosts: null, layers: {} };

function part(parts: Partial<AttachedParts>, told: string[] = [], name = 'part'): Attachment {
  return {
    worldId: 'w',
    prepare: async () => ({
      mounts: [],
      env: {},
      world: null,
      launched: (sandbox) => told.push(`${name} ${sandbox === null ? 'refused' : 'runs'}`),
      ...parts,
    }),
    detach: async () => {
      told.push(`${name} detached`);
    },
  };
}

const running = { pid: 1 } as unknown as Sandbox;

describe('what a world adds to a launch', () => {
  it('is one value of all its parts', async () => {
    const told: string[] = [];
    const combined = combineAttachments('w', [
      part(
        {
          env: { A: '1', LD_PRELOAD: '/one.so' },
          world: { ...NO_WORLD, netnsFd: 3, hosts: 'x\n', layers: { netns: 'n' } },
        },
        told,
        'one',
      ),
      part(
        {
          env: { A: '2', LD_PRELOAD: '/two.so' },
          world: { ...NO_WORLD, hosts: 'y\n', resolv: 'r', layers: { overlay: 'o' } },
        },
        told,
        'two',
      ),
    ]);
    const parts = await combined.prepare(INCARNATION);
    expect(parts.env).toEqual({ A: '2', LD_PRELOAD: '/two.so:/one.so' });
    expect(parts.world).toEqual({
      ...NO_WORLD,
      netnsFd: 3,
      hosts: 'x\ny\n',
      resolv: 'r',
      layers: { netns: 'n', overlay: 'o' },
    });
    parts.launched(running);
    await combined.detach();
    expect(told).toEqual(['one runs', 'two runs', 'one detached', 'two detached']);
  });

  it('is taken back when one of its parts cannot be had', async () => {
    const told: string[] = [];
    const failing = { ...part({}), prepare: () => Promise.reject(new Error('no')) };
    await expect(
      combineAttachments('w', [part({}, told, 'one'), failing]).prepare(INCARNATION),
    ).rejects.toThrow('no');
    expect(told).toEqual(['one refused']);
  });

  it('wins over what the agent asks for, and keeps what the agent preloads', async () => {
    let seen: SandboxSpec | null = null;
    const launch = async (spec: SandboxSpec) => {
      seen = spec;
      return running;
    };
    const mount = { source: '/a', target: '/a', readonly: true };
    const spec = testSpec(['true'], {
      env: { A: 'agent', LD_PRELOAD: '/agent.so' },
      mounts: [{ ...mount, target: '/b' }],
    });
    const { env } = await launchAttached(
      launch,
      spec,
      { id: 1, name: 'a' },
      part({ env: { A: 'world', LD_PRELOAD: '/world.so' }, mounts: [mount] }),
    );
    expect(env).toEqual({ A: 'world', LD_PRELOAD: '/world.so' });
    expect(seen).toMatchObject({
      env: { A: 'world', LD_PRELOAD: '/world.so:/agent.so' },
      mounts: [{ target: '/a' }, { target: '/b' }],
      world: NO_WORLD,
    });
  });

  it('cannot say who the agent is, nor go along with less isolation; then nothing is launched', async () => {
    const launch = () => Promise.reject(new Error('launched'));
    const told: string[] = [];
    const agent = { id: 1, name: 'a' };
    for (const name of ['CLOVE_SOCKET', 'CLOVE_AGENT_ID', 'A=B', ''])
      await expect(
        launchAttached(launch, testSpec(['true']), agent, part({ env: { [name]: 'x' } }, told)),
      ).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(new Set(told)).toEqual(new Set(['part refused']));
    await expect(
      launchAttached(launch, testSpec(['true'], { network: 'host' }), agent, part({})),
    ).rejects.toMatchObject({ code: 'FORBIDDEN' });
    for (const layer of ['mntns', 'netns'] as const)
      await expect(
        launchAttached(launch, testSpec(['true'], { disable: [layer] }), agent, part({})),
      ).rejects.toMatchObject({ code: 'SANDBOX_UNAVAILABLE' });
    await expect(launchAttached(launch, testSpec(['true']), agent, null)).rejects.toThrow('launched');
  });
});
