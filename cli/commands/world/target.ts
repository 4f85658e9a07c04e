import { CloveError, isCloveError } from '../../../errors/index.ts';
import { namesHint } from '../../../errors/suggest.ts';
import type { CloveClient } from '../../../sdk/typescript/index.ts';
import { withKernel } from '../../connect.ts';
import type { SocketFlag } from './create.ts';

type Listed = Awaited<ReturnType<CloveClient['worlds']>>[number];

/** What is said of the argument of every command that does something to a world. */
export const WORLD_ARGUMENT = 'its id, or its name where no other has it';

/**
 * Does something to a world that was named on the command line, by id or by a name that only one has; where there is no
 * such world, tells which there are. @throws NOT_FOUND, CONFLICT
 */
export function withWorld<Result>(
  flags: SocketFlag,
  named: string,
  work: (client: CloveClient, id: string) => Promise<Result>,
): Promise<Result> {
  return withKernel(flags, async (client) => {
    try {
      return await work(client, named);
    } catch (error) {
      if (!isCloveError(error) || error.code !== 'NOT_FOUND') throw error;
      const id = await worldIdOf(client, named, error);
      // It is there, and something in it was not found.
      if (id === named) throw error;
      return await work(client, id);
    }
  });
}

/** How the kernel writes ids of worlds. What looks like one is none of the names, whichever worlds there are. */
const WORLD_ID = /-\d{4,}$/;

/**
 * The id of a world, of its id or its name; where it cannot be told which there are, what was given.
 * @throws NOT_FOUND where there is none, CONFLICT where several have the name
 */
export async function worldIdOf(client: CloveClient, named: string, cause?: CloveError): Promise<string> {
  // Whoever is given it says whether there is such a world.
  if (WORLD_ID.test(named) && cause === undefined) return named;
  const worlds = await client.worlds().catch(() => null);
  if (worlds !== null) return oneOf(worlds, named, cause);
  if (cause !== undefined) throw cause;
  return named;
}

/** The same of several, of all of them before anything is done to one; none of them twice. */
export async function worldIdsOf(client: CloveClient, named: readonly string[]): Promise<string[]> {
  const worlds = await client.worlds().catch(() => null);
  return [...new Set(named.map((each) => (worlds === null ? each : oneOf(worlds, each))))];
}

function oneOf(worlds: readonly Listed[], named: string, cause?: CloveError): string {
  if (worlds.some(({ id }) => id === named)) return named;
  const same = WORLD_ID.test(named) ? [] : worlds.filter(({ name }) => name === named);
  const [only] = same;
  if (only !== undefined && same.length === 1) return only.id;
  if (only !== undefined) {
    throw new CloveError('CONFLICT', `${same.length} worlds are named ${named}`, {
      hint: `Say which: ${same.map(({ id }) => id).join(', ')}.`,
    });
  }
  const ids = worlds.map(({ id }) => id);
  throw new CloveError('NOT_FOUND', `there is no world ${named}`, {
    ...(cause === undefined ? {} : { cause }),
    hint: ids.length === 0 ? 'There are none. `clove world create` makes one.' : namesHint(named, ids),
  });
}
