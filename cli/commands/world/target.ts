import { CloveError, isCloveError } from '../../../errors/index.ts';
import { namesHint } from '../../../errors/suggest.ts';
import type { CloveClient } from '../../../sdk/typescript/index.ts';
import { withKernel } from '../../connect.ts';
import type { SocketFlag } from './create.ts';

/** Does something to a world that was named on the command line; where there is none of that id, tells which there are. @throws NOT_FOUND */
export function withWorld<Result>(
  flags: SocketFlag,
  id: string,
  work: (client: CloveClient) => Promise<Result>,
): Promise<Result> {
  return withKernel(flags, async (client) => {
    try {
      return await work(client);
    } catch (error) {
      if (!isCloveError(error) || error.code !== 'NOT_FOUND') throw error;
      const ids = await client
        .worlds()
        .then((worlds) => worlds.map(({ id: one }) => one))
        .catch(() => null);
      // It is there, and something in it was not found.
      if (ids === null || ids.includes(id)) throw error;
      throw new CloveError('NOT_FOUND', `there is no world ${id}`, {
        cause: error,
        hint: ids.length === 0 ? 'There are none. `clove world create` makes one.' : namesHint(id, ids),
      });
    }
  });
}
