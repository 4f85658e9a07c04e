import { type ErrorCode, isCloveError } from '../errors/index.ts';
import type { CloveClient } from '../sdk/typescript/client.ts';
import type { FleetDefinition } from './definition.ts';
import { type Action, type Actual, isAlive, isOfFleet, type Listed, planFleet } from './plan.ts';
import { type DesiredAgent, LABELS } from './request.ts';

/** What the caller of converge() hears while it goes on. */
export interface Progress {
  done(action: Action, note: string): void;
  failed(action: Action, error: unknown): void;
}

export interface ConvergeOptions {
  readonly signal?: AbortSignal;
  /** Until an agent that others need is ready, and until all are. ms */
  readonly readyMs: number;
  /** false = do not wait for the last ones to become ready. */
  readonly waitForReady: boolean;
}

export interface Converged {
  readonly done: number;
  readonly failed: readonly { readonly name: string; readonly error: string }[];
}

export async function actualOf(client: CloveClient): Promise<Actual> {
  const [agents, groups] = await Promise.all([client.list({ all: true }), client.groups()]);
  return { agents, groups };
}

/** Does what the plan says. What fails is told and left; whoever needs it fails with it. Never throws for an agent. */
export async function converge(
  client: CloveClient,
  definition: FleetDefinition,
  options: ConvergeOptions,
  progress: Progress,
): Promise<Converged> {
  const { actions } = planFleet(definition, await actualOf(client));
  const failed = new Map<string, string>();
  let done = 0;
  for (const action of actions) {
    if (options.signal?.aborted) break;
    try {
      const needed = 'agent' in action ? action.agent.dependsOn.find((name) => failed.has(name)) : undefined;
      if (needed !== undefined) throw new Error(`${needed}, which it depends on, has failed`);
      progress.done(action, await perform(client, action, options));
      done += 1;
    } catch (error) {
      if (options.signal?.aborted) break;
      failed.set(nameOf(action), messageOf(error));
      progress.failed(action, error);
    }
  }
  if (options.waitForReady && !options.signal?.aborted) {
    for (const { name, error } of await unready(client, definition, options)) {
      if (!failed.has(name)) failed.set(name, error);
    }
  }
  return { done, failed: [...failed].map(([name, error]) => ({ name, error })) };
}

/** Ends the fleet, those first that nobody needs. Returns what was ended. */
export async function takeDown(
  client: CloveClient,
  fleet: string,
  /** Names, each after those that it needs. */
  order: readonly string[],
  groups: readonly string[],
  progress: Progress,
  graceMs: number | null,
): Promise<Converged> {
  const listed = (await client.list()).filter((agent) => isOfFleet(agent, fleet));
  const place = (agent: Listed) => {
    const at = order.indexOf(agent.name);
    return at < 0 ? order.length + agent.id : at;
  };
  const failed: { name: string; error: string }[] = [];
  let done = 0;
  for (const agent of listed.toSorted((a, b) => place(b) - place(a))) {
    const action = { kind: 'remove' as const, name: agent.name, id: agent.id };
    try {
      await client.kill(agent.id, { timeoutMs: null, ...(graceMs === null ? {} : { graceMs }) });
      progress.done(action, '');
      done += 1;
    } catch (error) {
      // It has ended by itself meanwhile.
      if (hasCode(error, 'NOT_FOUND')) continue;
      failed.push({ name: agent.name, error: messageOf(error) });
      progress.failed(action, error);
    }
  }
  const known = (await client.groups()).filter(
    ({ name, agents }) => groups.includes(name) && agents.length === 0,
  );
  for (const { name } of known.toReversed()) {
    try {
      await client.removeGroup(name);
      progress.done({ kind: 'remove_group', name }, '');
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) progress.failed({ kind: 'remove_group', name }, error);
    }
  }
  return { done, failed };
}

function perform(client: CloveClient, action: Action, options: ConvergeOptions): Promise<string> {
  switch (action.kind) {
    case 'set_group':
      return setGroup(client, action);
    case 'create':
      return start(client, action.agent, options);
    case 'replace':
      return client.kill(action.id, { timeoutMs: null }).then(() => start(client, action.agent, options));
    case 'reload':
      return reload(client, action.id, action.agent);
    case 'remove':
      return client.kill(action.id, { timeoutMs: null }).then(() => '');
    case 'remove_group':
      return client.removeGroup(action.name).then(() => '');
  }
}

async function setGroup(
  client: CloveClient,
  { group }: Extract<Action, { readonly kind: 'set_group' }>,
): Promise<string> {
  await client.setGroup({
    name: group.name,
    parent: group.parent ?? null,
    strategy: group.strategy,
    order: group.order,
    max_restarts: group.max_restarts,
    restart_window: group.within / 1000,
    restart_backoff_ms: group.backoff,
    restart_backoff_max_ms: group.backoff_max,
  });
  return group.strategy;
}

/** SPAWN answers when those it depends on are ready. */
async function start(
  client: CloveClient,
  agent: DesiredAgent,
  { readyMs, signal }: ConvergeOptions,
): Promise<string> {
  const { id, pid } = await client.spawn(agent.request, {
    timeoutMs: readyMs,
    ...(signal === undefined ? {} : { signal }),
  });
  if (agent.quotas !== null) await client.setQuota(agent.quotas, id);
  return `id ${id}, pid ${pid}`;
}

async function reload(client: CloveClient, id: number, { request }: DesiredAgent): Promise<string> {
  const { script, command, python, args, env, labels } = request;
  const { reloaded, reason, pid } = await client.reload(
    id,
    // All of it: what is left out would stay as it was.
    { script, command, python, args: args ?? [], env: env ?? {}, labels },
    { timeoutMs: null },
  );
  if (!reloaded) throw new Error(`the new code did not come up (${reason}); the old one runs again`);
  return `id ${id}, pid ${pid}`;
}

async function unready(
  client: CloveClient,
  { agents, name: fleet }: FleetDefinition,
  { readyMs, signal }: ConvergeOptions,
): Promise<{ name: string; error: string }[]> {
  const listed = await client.list({ all: true });
  const waits = agents.map(async ({ name }) => {
    const found = listed.findLast((each) => each.name === name && isOfFleet(each, fleet));
    if (found === undefined || !isAlive(found)) return null;
    try {
      await client.waitReady(found.id, { timeoutMs: readyMs, signal });
      return null;
    } catch (error) {
      // A job may be done sooner than it is asked for.
      if (hasCode(error, 'NOT_FOUND') || hasCode(error, 'CONFLICT')) return endOf(client, found);
      return { name, error: messageOf(error) };
    }
  });
  return (await Promise.all(waits)).filter((each) => each !== null);
}

async function endOf(
  client: CloveClient,
  { id, name }: Listed,
): Promise<{ name: string; error: string } | null> {
  const { state, reason, exit_code } = await client.wait(id);
  return state === 'stopped'
    ? null
    : { name, error: `has ended: ${exit_code === null ? reason : `status ${exit_code}`}` };
}

export function nameOf(action: Action): string {
  if ('agent' in action) return action.agent.name;
  return 'group' in action ? action.group.name : action.name;
}

function hasCode(error: unknown, code: ErrorCode): boolean {
  return isCloveError(error) && error.code === code;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** How an agent of the fleet differs from its declaration; null = it does not. */
export function drift(agent: DesiredAgent, listed: Listed): 'code' | 'spec' | null {
  if (listed.labels[LABELS.spec] !== agent.spec) return 'spec';
  return listed.labels[LABELS.code] === agent.code ? null : 'code';
}
