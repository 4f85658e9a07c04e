import { CloveError, isCloveError } from '../errors/index.ts';
import { namesHint } from '../errors/suggest.ts';
import type { CloveClient } from '../sdk/typescript/index.ts';
import { parseTarget } from './connect.ts';

const NAMES_SHOWN = 20;

/** Does something to an agent that was named on the command line; where there is no such agent, tells which there are. @throws NOT_FOUND */
export async function onAgent<T>(
  client: CloveClient,
  named: string,
  work: (target: number | string) => Promise<T>,
): Promise<T> {
  try {
    return await work(parseTarget(named));
  } catch (error) {
    if (!isCloveError(error) || error.code !== 'NOT_FOUND') throw error;
    const names = await client
      .list({ all: true })
      .then((agents) => agents.map(({ name }) => name))
      .catch(() => null);
    // It is there, and something else was not found.
    if (names === null || names.includes(named)) throw error;
    throw new CloveError('NOT_FOUND', error.message, {
      cause: error,
      hint:
        names.length === 0
          ? 'No agent runs. Start one with `clove agent run SCRIPT --name NAME`.'
          : namesHint(named, names.slice(-NAMES_SHOWN)),
    });
  }
}
