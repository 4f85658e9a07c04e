import { describe, expect, it } from 'vitest';
import { type ChaosEvent, chooseVictims, runChaos } from './chaos.ts';

describe('demo chaos', () => {
  it('brings back whom it kills, and leaves the others alone', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const events: ChaosEvent[] = [];
    const result = await runChaos({ agents: 12, kill: 4, seed: 3 }, (event) => events.push(event));
    expect(result).toMatchObject({ agents: 12, killed: 4, restarted: 4, unaffected: 8, affected: [] });
    expect(result.restartMs?.count).toBe(4);
    const of = (kind: ChaosEvent['kind']) => events.filter((event) => event.kind === kind).length;
    expect([of('started'), of('killed'), of('back')]).toEqual([1, 4, 4]);
    await expect(runChaos({ agents: 1, kill: 2, seed: 1 })).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('draws its victims and their moments from the seed', () => {
    const agents = Array.from({ length: 10 }, (_, index) => ({
      index,
      id: index,
      name: `a${index}`,
      pid: 1,
    }));
    const drawn = (seed: number) =>
      chooseVictims(agents, 3, seed).map(({ agent, atMs }) => [agent.name, atMs]);
    expect(drawn(1)).toEqual(drawn(1));
    expect(drawn(1)).not.toEqual(drawn(2));
    expect(new Set(drawn(1).map(([name]) => name)).size).toBe(3);
  });
});
