import { describe, expect, it } from 'vitest';
import { runFleet } from '../../bench/fleet/testing.ts';
import untrusted from './scenario.ts';

describe('untrusted', () => {
  it('blocks every way out and names the layer that did; without walls the same attempts get out', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const { checks, explain, results } = await runFleet(untrusted, { runtimes: ['clove', 'process'] });
    const layers = Object.values(checks('clove')).map(({ id, status, layer }) => [id, status, layer]);
    expect(layers, explain('clove')).toEqual([
      ['network', 'passed', 'netns'],
      ['secret', 'passed', 'mntns'],
      ['write', 'passed', expect.stringMatching(/^(mntns|root_ro)$/)],
      ['processes', 'passed', 'pidns'],
      ['namespaces', 'passed', 'seccomp'],
      ['kernel', 'passed', 'permissions'],
      ['fork-bomb', 'passed', 'pids'],
    ]);
    const [held] = results.trials;
    expect(held?.metrics).toMatchObject({ canariesTouched: 0 });
    expect(held?.metrics?.refused).toBe(held?.metrics?.attempts);
    const open = checks('process');
    for (const id of ['network', 'secret', 'write', 'processes', 'fork-bomb'])
      expect(open[id]?.status, explain('process')).toBe('failed');
    // What the kernel grants does not hang on sandboxes.
    expect(open.kernel?.status, explain('process')).toBe('passed');
  }, 240_000);
});
