import { expect, it } from 'vitest';
import { FIRST_CLIENT_ID } from '../kernel/identity.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { keptAgents } from './kept-agents.ts';
import { join, testWorld } from './testing.ts';

it('keeps nobody whom another agent had started, whether that one is still there or not', async () => {
  const made = await testWorld({ name: 'family' });
  const parents = { orphan: 3, child: 1, own: 0, clients: FIRST_CLIENT_ID + 5 };
  const agents = new Map<number, object>();
  for (const [index, [name, parentId]] of Object.entries(parents).entries()) {
    const id = 10 + index;
    join(made, { id, name });
    made.world.checkpoints.keep(id, '{}');
    agents.set(id, { name, parentId, plan: { request: { command: ['/bin/true'] } } });
  }
  agents.set(1, { name: 'parent', parentId: 0, plan: { request: null } });
  const kept = keptAgents(made.world, { agents } as unknown as Kernel);
  expect(kept.map(({ name, reason }) => [name, reason])).toEqual([
    ['orphan', 'another agent had started it'],
    ['child', 'another agent had started it'],
    ['own', null],
    ['clients', null],
  ]);
});
