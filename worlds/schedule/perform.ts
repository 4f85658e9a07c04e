import { CloveError } from '../../errors/index.ts';
import { parseEvent } from '../chaos/kinds.ts';
import { THE_WORLD } from '../filesystem/types.ts';
import { compileGlob } from '../network/patterns.ts';
import { filesOf, type WorldParts } from '../parts.ts';
import type { World } from '../world.ts';
import type { ScheduleEntry } from './schema.ts';

const WORLD_CALLER = { agentId: 0, agentName: 'world' };

/** Does in a world what an entry of its schedule says: what is over at once first, then the rest in its order. */
export function perform(entry: ScheduleEntry, name: string, world: World): void | Promise<void> {
  const { parts } = world;
  if (entry.event !== undefined) {
    const event = parseEvent(entry.event, entry.params);
    world.chaos.inject(event, { forMs: entry.for ?? null, source: `schedule:${name}` });
  }
  const { write, append, remove, store, send, emit, request } = entry;
  if (send !== undefined) parts.outside.send(idsOf(send.to, world), send.message);
  if (emit !== undefined) parts.outside.emit(world.memberIds(), emit.type, emit.data);
  const put = async ({ path, content }: NonNullable<ScheduleEntry['write']>, isMore: boolean) => {
    const text = content.replaceAll('{{time}}', new Date(world.tellMs()).toISOString());
    await filesOf(parts).write(path, Buffer.from(text), { append: isMore, by: THE_WORLD });
  };
  const work = [
    write && (() => put(write, false)),
    append && (() => put(append, true)),
    remove !== undefined && (() => filesOf(parts).remove(remove, THE_WORLD)),
    store &&
      (() =>
        world.state.store(0, {
          key: store.key,
          scope: 'global',
          ttlMs: null,
          text: JSON.stringify(store.value),
        })),
    request && (() => makeRequest(request, parts)),
  ].filter((one) => typeof one === 'function');
  if (work.length === 0) return undefined;
  return (async () => {
    for (const step of work) await step();
  })();
}

async function makeRequest(
  request: NonNullable<ScheduleEntry['request']>,
  { network }: WorldParts,
): Promise<void> {
  if (network === null) throw new CloveError('CONFIG', 'this world has no network of its own');
  const json = request.json === undefined ? null : JSON.stringify(request.json);
  const body = json ?? request.body;
  const headers = { ...(json === null ? {} : { 'content-type': 'application/json' }), ...request.headers };
  const response = await network.fetch(
    new Request(request.url, { method: request.method, headers, ...(body === undefined ? {} : { body }) }),
    WORLD_CALLER,
  );
  if (response.status >= 400) {
    throw new CloveError('IO', `${request.method} ${request.url} was answered with ${response.status}`);
  }
}

function idsOf(pattern: string, world: World): number[] {
  const isMeant = compileGlob(pattern);
  return world.members().flatMap(({ id, name }) => (isMeant(name) ? [id] : []));
}
