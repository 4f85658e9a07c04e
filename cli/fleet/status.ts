import { drift, type FleetDefinition, isAlive, isOfFleet, type Listed } from '../../fleets/index.ts';
import type { CloveClient } from '../../sdk/typescript/index.ts';
import { escapeLine } from '../ui/escape.ts';
import { formatBytes, formatDuration, plural } from '../ui/format.ts';
import { renderTable } from '../ui/table.ts';
import type { Terminal } from '../ui/terminal.ts';

export interface AgentStatus {
  readonly name: string;
  /** done: ended as it should; failed: ended, and is not started again; missing: does not run; surplus: runs, and is not declared. */
  readonly state: Listed['state'] | 'done' | 'missing' | 'surplus';
  readonly ok: boolean;
  /** What is wrong, or waited for; '' = nothing. */
  readonly note: string;
  readonly id: number | null;
  readonly pid: number | null;
  readonly ready: boolean;
  readonly health: Listed['health'];
  readonly group: string | null;
  readonly restarts: number;
  readonly uptimeMs: number;
  readonly memoryBytes: number;
  readonly cpuPercent: number;
  /** What differs from the file; null = nothing. */
  readonly drift: 'code' | 'spec' | null;
}

export interface FleetStatus {
  readonly fleet: string;
  readonly ok: boolean;
  readonly agents: readonly AgentStatus[];
  readonly groups: readonly { readonly name: string; readonly strategy: string; readonly failed: boolean }[];
}

export async function fleetStatus(client: CloveClient, definition: FleetDefinition): Promise<FleetStatus> {
  const [listed, groups] = await Promise.all([client.list({ all: true }), client.groups()]);
  const own = listed.filter((agent) => isOfFleet(agent, definition.name));
  const declared = definition.agents.map((agent): AgentStatus => {
    const found =
      own.findLast((each) => each.name === agent.name && isAlive(each)) ??
      own.findLast(({ name }) => name === agent.name);
    if (found === undefined) return missing(agent.name, agent.group, '');
    const differs = drift(agent, found);
    if (!isAlive(found)) {
      const isDone = agent.isJob && found.state === 'stopped' && found.ended?.reason === 'exited';
      const how = found.ended === null ? '' : describeEnd(found.ended);
      if (isDone)
        return { ...describe(found), state: 'done', ok: differs === null, note: how, drift: differs };
      if (found.state !== 'failed') return missing(agent.name, agent.group, how);
      const note = found.restarts === 0 ? how : `${how}; given up after ${plural(found.restarts, 'restart')}`;
      return { ...describe(found), ok: false, note, drift: differs };
    }
    const note =
      found.waits_for.length > 0
        ? `waits for ${found.waits_for.join(', ')}`
        : found.restart_in_ms !== null
          ? `starts again in ${formatDuration(found.restart_in_ms)}${found.ended === null ? '' : ` (${describeEnd(found.ended)})`}`
          : found.status;
    const ok = found.state === 'running' && found.ready && found.health !== 'unhealthy' && differs === null;
    return { ...describe(found), ok, note, drift: differs };
  });
  const names = new Set(definition.agents.map(({ name }) => name));
  const surplus = own
    .filter((agent) => isAlive(agent) && !names.has(agent.name))
    .map(
      (agent): AgentStatus => ({ ...describe(agent), state: 'surplus', ok: false, note: 'not in the file' }),
    );
  const agents = [...declared, ...surplus];
  const wanted = new Set(definition.groups.map(({ name }) => name));
  return {
    fleet: definition.name,
    ok: agents.every(({ ok }) => ok),
    agents,
    groups: groups
      .filter(({ name }) => wanted.has(name))
      .map(({ name, strategy, failed }) => ({ name, strategy, failed })),
  };
}

function describeEnd({ reason, exit_code, signal }: NonNullable<Listed['ended']>): string {
  if (reason === 'exited') return `status ${exit_code}`;
  return signal === null || reason !== 'signal' ? reason : signal;
}

function missing(name: string, group: string | null, how: string): AgentStatus {
  const nothing = {
    id: null,
    pid: null,
    ready: false,
    health: 'none' as const,
    restarts: 0,
    uptimeMs: 0,
    memoryBytes: 0,
    cpuPercent: 0,
  };
  return {
    name,
    state: 'missing',
    ok: false,
    note: how === '' ? '' : `ended: ${how}`,
    group,
    drift: null,
    ...nothing,
  };
}

function describe(agent: Listed): AgentStatus {
  return {
    name: agent.name,
    state: agent.state,
    ok: true,
    note: '',
    id: agent.id,
    pid: agent.pid === 0 ? null : agent.pid,
    ready: agent.ready,
    health: agent.health,
    group: agent.group,
    restarts: agent.restarts,
    uptimeMs: agent.uptime_ms,
    memoryBytes: agent.memory,
    cpuPercent: agent.cpu,
    drift: null,
  };
}

export function statusTable(terminal: Terminal, { fleet, ok, agents, groups }: FleetStatus): string {
  const rows = renderTable<AgentStatus>(
    [
      { title: 'agent', value: ({ name }) => escapeLine(name) },
      { title: 'state', value: ({ state, ok }) => terminal.style(ok ? 'green' : 'red', state) },
      { title: 'ready', value: ({ ready, state }) => (state === 'done' ? '–' : ready ? 'yes' : 'no') },
      { title: 'health', value: ({ health }) => (health === 'none' ? '–' : health) },
      { title: 'group', value: ({ group }) => (group === null ? '–' : escapeLine(group)) },
      { title: 'id', align: 'right', value: ({ id }) => (id === null ? '–' : String(id)) },
      { title: 'pid', align: 'right', value: ({ pid }) => (pid === null ? '–' : String(pid)) },
      {
        title: 'up',
        align: 'right',
        value: ({ uptimeMs }) => (uptimeMs === 0 ? '–' : formatDuration(uptimeMs)),
      },
      {
        title: 'memory',
        align: 'right',
        value: ({ memoryBytes }) => (memoryBytes === 0 ? '–' : formatBytes(memoryBytes)),
      },
      { title: 'cpu', align: 'right', value: ({ cpuPercent }) => `${cpuPercent.toFixed(1)} %` },
      { title: 'restarts', align: 'right', value: ({ restarts }) => String(restarts) },
      {
        title: 'note',
        value: ({ note, drift }) =>
          escapeLine(
            [drift === null ? '' : `other ${drift === 'code' ? 'code' : 'settings'} than declared`, note]
              .filter((part) => part !== '')
              .join('; '),
          ),
      },
    ],
    agents,
  );
  const failed = groups
    .filter((group) => group.failed)
    .map(({ name }) => `group ${escapeLine(name)} was given up: too many restarts`);
  const verdict = ok
    ? 'all as declared'
    : `${agents.filter((agent) => !agent.ok).length} of ${agents.length} not as declared`;
  return [rows, ...failed, `fleet ${escapeLine(fleet)}: ${verdict}`].join('\n');
}
