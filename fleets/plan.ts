import type { SyscallResponse } from '../sdk/typescript/types.ts';
import type { DesiredGroup, FleetDefinition } from './definition.ts';
import { type DesiredAgent, LABELS } from './request.ts';

export type Listed = SyscallResponse<'LIST'>[number];
export type ListedGroup = SyscallResponse<'GROUP_LIST'>['groups'][number];

/** Ids of agents: above are those of clients. */
const FIRST_CLIENT_ID = 2 ** 30;

/** What a kernel has, as far as fleets are concerned. */
export interface Actual {
  /** Live and remembered ones. */
  readonly agents: readonly Listed[];
  readonly groups: readonly ListedGroup[];
}

export type Action =
  | { readonly kind: 'set_group'; readonly group: DesiredGroup; readonly isNew: boolean }
  | { readonly kind: 'create'; readonly agent: DesiredAgent }
  /** New code under the same id. */
  | { readonly kind: 'reload'; readonly agent: DesiredAgent; readonly id: number }
  /** Ended, and started as what it is to be. */
  | { readonly kind: 'replace'; readonly agent: DesiredAgent; readonly id: number }
  | { readonly kind: 'remove'; readonly name: string; readonly id: number }
  | { readonly kind: 'remove_group'; readonly name: string };

export interface Conflict {
  readonly name: string;
  readonly reason: string;
}

export interface FleetPlan {
  /** In the order in which they are to be done. */
  readonly actions: readonly Action[];
  /** Names of agents that are as they are to be. */
  readonly unchanged: readonly string[];
  /** What stands in the way; nothing can be done before that is settled. */
  readonly conflicts: readonly Conflict[];
}

/** An agent that `up` has started. What agents start themselves is not, whatever it says of itself. */
export function isOfFleet(agent: Listed, fleet: string): boolean {
  const isOfOperator = agent.parent_id === 0 || agent.parent_id >= FIRST_CLIENT_ID;
  return isOfOperator && agent.labels[LABELS.fleet] === fleet;
}

export function isAlive({ state }: Listed): boolean {
  return state !== 'stopped' && state !== 'failed';
}

/** What has to be done so that a kernel runs a fleet as it is declared. Pure. */
export function planFleet(definition: FleetDefinition, actual: Actual): FleetPlan {
  const wanted = new Map(definition.agents.map((agent) => [agent.name, agent]));
  const live = actual.agents.filter(isAlive);
  const own = live.filter((agent) => isOfFleet(agent, definition.name));
  const conflicts = live
    .filter((agent) => wanted.has(agent.name) && !isOfFleet(agent, definition.name))
    .map(({ name, id }) => ({ name, reason: `agent ${id}, which is not of this fleet, has this name` }));
  const surplus = own.filter(({ name }) => !wanted.has(name));
  const unchanged: string[] = [];
  const starts: Action[] = [];
  for (const agent of definition.agents) {
    const running = own.find(({ name }) => name === agent.name);
    if (running === undefined) {
      if (isDone(agent, actual.agents, definition.name)) unchanged.push(agent.name);
      else if (conflicts.every(({ name }) => name !== agent.name)) starts.push({ kind: 'create', agent });
      continue;
    }
    const { id, labels } = running;
    if (labels[LABELS.spec] !== agent.spec) starts.push({ kind: 'replace', agent, id });
    else if (labels[LABELS.code] !== agent.code) starts.push({ kind: 'reload', agent, id });
    else unchanged.push(agent.name);
  }
  return {
    actions: [
      // The newest first: it may need the older ones.
      ...surplus
        .toSorted((a, b) => b.id - a.id)
        .map(({ name, id }) => ({ kind: 'remove' as const, name, id })),
      ...groupActions(definition.groups, actual.groups),
      ...starts,
      ...surplusGroups(definition, surplus, actual),
    ],
    unchanged,
    conflicts,
  };
}

/** A job of this very form that has ended as it should is not done twice. */
function isDone(agent: DesiredAgent, agents: readonly Listed[], fleet: string): boolean {
  const last = agents.findLast(({ name }) => name === agent.name);
  return (
    agent.isJob &&
    last?.state === 'stopped' &&
    last.ended?.reason === 'exited' &&
    isOfFleet(last, fleet) &&
    last.labels[LABELS.spec] === agent.spec &&
    last.labels[LABELS.code] === agent.code
  );
}

function groupActions(wanted: readonly DesiredGroup[], groups: readonly ListedGroup[]): Action[] {
  return wanted.flatMap((group): Action[] => {
    const known = groups.find(({ name }) => name === group.name);
    const isSame =
      known !== undefined &&
      known.parent === (group.parent ?? null) &&
      known.strategy === group.strategy &&
      known.order === group.order &&
      known.max_restarts === group.max_restarts &&
      known.restart_window === group.within / 1000 &&
      known.restart_backoff_ms === group.backoff &&
      known.restart_backoff_max_ms === group.backoff_max;
    return isSame ? [] : [{ kind: 'set_group', group, isNew: known === undefined }];
  });
}

/** Groups that the fleet has left behind: its surplus agents were the only ones in them. */
function surplusGroups(
  { groups, agents }: FleetDefinition,
  surplus: readonly Listed[],
  actual: Actual,
): Action[] {
  const gone = new Set(surplus.map(({ id }) => id));
  const replaced = new Set(
    actual.agents
      .filter(({ name, group }) => agents.some((each) => each.name === name && each.group !== group))
      .map(({ id }) => id),
  );
  const left = new Set(
    actual.agents.filter(({ id }) => gone.has(id) || replaced.has(id)).map(({ group }) => group),
  );
  return actual.groups
    .filter(({ name, agents: ids }) => {
      const isWanted = groups.some((group) => group.name === name);
      return !isWanted && left.has(name) && ids.every((id) => gone.has(id) || replaced.has(id));
    })
    .map(({ name }) => ({ kind: 'remove_group', name }));
}
