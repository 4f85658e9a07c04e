import { FIRST_CLIENT_ID } from '../kernel/identity.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { SecretNames } from '../kernel/recording/secret-names.ts';
import type { KeptAgent } from '../kernel/worlds/host.ts';
import type { World } from './world.ts';

const secrets = new SecretNames();

/** The agents of a world, with what it takes to start them again where they were. Values of secret variables stay behind. */
export function keptAgents(world: World, kernel: Kernel): KeptAgent[] {
  return world.members().flatMap(({ id, name }) => {
    const agent = kernel.agents.get(id);
    if (agent === undefined) return [];
    const { request, isScriptOfAgent } = agent.plan;
    const checkpoint = world.checkpoints.of(id);
    const shared = { name: agent.name || name, checkpoint };
    const lost = (reason: string): KeptAgent[] => [{ ...shared, request: null, withheld: [], reason }];
    if (request === null) return lost('it has ended');
    // Its rights were at most those of its parent, who is nobody in another world, and may be nobody here any more.
    if (agent.parentId !== 0 && agent.parentId < FIRST_CLIENT_ID) return lost('another agent had started it');
    if (isScriptOfAgent === true) return lost('its script was another agent’s file');
    if (checkpoint === null) return lost('it left no state and answers no checkpoint');
    const env = Object.entries(request.env ?? {});
    const withheld = env.map(([variable]) => variable).filter((variable) => secrets.has(variable));
    const kept = Object.fromEntries(env.filter(([variable]) => !withheld.includes(variable)));
    return [
      {
        ...shared,
        request: JSON.parse(JSON.stringify({ ...request, env: kept })) as Record<string, unknown>,
        withheld,
        reason: null,
      },
    ];
  });
}
