// Standing still: nobody acts while the work of one is taken, and if somebody did, that is known.
import { CloveError, errorToData } from '../../errors/index.ts';
import type { CloveClient } from '../../sdk/typescript/index.ts';

type Agents = Pick<CloveClient, 'list' | 'pause' | 'kill'>;

/** Every agent there is, and the process it was frozen as. */
export type Frozen = ReadonlyMap<number, number>;

/**
 * Freezes all agents: again, until one look finds nobody who could act. Who was started meanwhile is frozen too; who cannot be
 * (between two lives, and about to run again) is ended. The one whose work is wanted must be frozen, and alive.
 * @throws NOT_FOUND when that one has ended or is being started again
 */
export async function freezeAll(
  client: Agents,
  wantedId: number,
  { signal, log }: { readonly signal: AbortSignal; log(line: string): void },
): Promise<Frozen> {
  for (;;) {
    signal.throwIfAborted();
    const rows = await client.list();
    const wanted = rows.find(({ id }) => id === wantedId);
    if (wanted === undefined)
      throw new CloveError('NOT_FOUND', 'the agent had ended before its work was taken');
    const moving = rows.filter(({ state }) => state !== 'paused');
    if (moving.length === 0) return new Map(rows.map(({ id, pid }) => [id, pid]));
    for (const { id } of moving) {
      try {
        await client.pause(id);
      } catch (error) {
        log(`judge: freezing ${id}: ${errorToData(error).message}`);
        if (id === wantedId)
          throw new CloveError('NOT_FOUND', 'the agent had ended before its work was taken', {
            cause: error,
          });
        await client.kill(id, { graceMs: 0 }).catch(() => {}); // gone by itself
      }
    }
  }
}

/** Who is there that was not frozen all the time since: thawed, started again, or new. */
export async function movedSince(client: Pick<CloveClient, 'list'>, frozen: Frozen): Promise<string[]> {
  return (await client.list())
    .filter(({ id, pid, state }) => state !== 'paused' || frozen.get(id) !== pid)
    .map(({ id, name }) => name || `agent ${id}`);
}
