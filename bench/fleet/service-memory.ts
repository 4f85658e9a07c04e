import { CloveError } from '../../errors/index.ts';
import type { CloveClient } from '../../sdk/typescript/index.ts';

/**
 * What a stateful service of a world remembers, out of a snapshot: what happened there, which no service shows to anybody inside.
 * @throws DATA_MISSING, NOT_FOUND
 */
export async function serviceMemory<State>(
  client: CloveClient,
  worldId: string,
  service: string,
): Promise<State> {
  const { snapshot } = await client.snapshotWorld(worldId);
  const { clove } = snapshot as {
    clove?: { body?: { image?: { network?: { services?: Record<string, unknown> } } } };
  };
  const state = clove?.body?.image?.network?.services?.[service];
  if (state === undefined)
    throw new CloveError('DATA_MISSING', `the snapshot has no memory of the service ${service}`);
  return state as State;
}
