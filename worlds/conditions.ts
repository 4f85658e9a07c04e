import type { Condition } from './schedule/schema.ts';
import type { World } from './world.ts';

/** Entries of the log that a condition looks through. */
const MAX_LOG = 10_000;

/** Whether something is so in a world now; of several things, all of them. */
export function conditionHolds(condition: Condition, world: World, happened: ReadonlySet<string>): boolean {
  const { file, state, requests, members } = condition;
  if (condition.happened !== undefined && !happened.has(condition.happened)) return false;
  if (members !== undefined && world.memberIds().length < members) return false;
  if (file !== undefined && !fileHolds(file, world)) return false;
  if (state !== undefined && !stateHolds(state, world)) return false;
  return requests === undefined || requestsHold(requests, world);
}

function fileHolds({ path, contains, missing }: NonNullable<Condition['file']>, world: World): boolean {
  const { files } = world.parts;
  const entry = files?.find(path) ?? null;
  if (missing) return entry === null;
  if (entry === null || files === null) return false;
  if (contains === undefined) return true;
  return entry.hash !== undefined && files.content(entry.hash).includes(contains);
}

function stateHolds(wanted: NonNullable<Condition['state']>, world: World): boolean {
  if (!world.hasState) return false;
  const found = world.state.fetch(0, wanted.key, 'global');
  if (found === null) return false;
  return wanted.equals === undefined || found.text === JSON.stringify(wanted.equals);
}

function requestsHold(wanted: NonNullable<Condition['requests']>, world: World): boolean {
  const entries = world.parts.network?.log.entries({ kind: 'http', host: wanted.host, limit: MAX_LOG }) ?? [];
  const found = entries.filter(
    ({ method, url, agentId }) =>
      agentId !== 0 &&
      (wanted.method === undefined || method === wanted.method.toUpperCase()) &&
      (wanted.path === undefined || (URL.parse(url)?.pathname.startsWith(wanted.path) ?? false)),
  );
  return found.length >= wanted.at_least;
}
