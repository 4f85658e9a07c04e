import type { FileMetrics } from './filesystem/types.ts';
import { legacyChaosOf } from './legacy/chaos.ts';
import type { NetworkMetrics } from './network/types.ts';
import type { World } from './world.ts';

const UPCOMING = 10;
const LATEST = 20;

const NO_FILES: FileMetrics = {
  file_count: 0,
  read_count: 0,
  write_count: 0,
  bytes_read: 0,
  bytes_written: 0,
  total_size_bytes: 0,
  modifications: 0,
};
const NO_NETWORK: Omit<NetworkMetrics, 'mode'> & { readonly mode: string } = {
  mode: 'passthrough',
  mock_count: 0,
  requests_intercepted: 0,
  requests_passed_through: 0,
  requests_failed: 0,
  requests_refused: 0,
  recorded_count: 0,
  recorded_dropped: 0,
  log_dropped: 0,
};

/** What goes on in a world, with the names existing clients know and those of ours. */
export function worldState(world: World): Readonly<Record<string, unknown>> {
  const { chaos, schedule } = world;
  const { files, network, clock, definition, form, seed } = world.parts;
  const active = chaos.active();
  const happening = chaos.happening();
  return {
    world_id: world.id,
    name: world.name,
    description: definition.description,
    form,
    seed,
    agent_count: world.memberIds().length,
    syscall_count: world.calls,
    agents: world.memberIds(),
    members: world.members().map(({ id, name }) => ({ id, name })),
    vfs_metrics: files?.metrics() ?? NO_FILES,
    network_metrics: network?.metrics() ?? NO_NETWORK,
    chaos_metrics: {
      enabled: chaos.ruleCount > 0 || active.length > 0,
      failure_rate: legacyChaosOf(definition.chaos).failure_rate,
      rule_count: chaos.ruleCount,
      active_event_count: happening.length,
      active_events: happening.map(({ kind }) => kind),
      failures_injected: chaos.failures(),
      latency_injected: chaos.delays(),
    },
    events: active.map(({ id, kind, params, source, sinceMs, untilMs }) => ({
      id,
      kind,
      params,
      source,
      since_ms: sinceMs,
      until_ms: untilMs,
    })),
    events_injected: chaos.injected,
    history: chaos.history().slice(-LATEST),
    clock: clock.status(),
    llm: world.thinking.metrics(),
    told_time: new Date(world.tellMs()).toISOString(),
    schedule: {
      entries: definition.schedule.length,
      pending: schedule.pending,
      upcoming: schedule.upcoming(UPCOMING),
      latest: world.happenings.slice(-LATEST),
    },
    state_keys: world.hasState ? world.state.usage().keys : 0,
    modifications: files?.modifications().slice(-LATEST) ?? [],
  };
}
