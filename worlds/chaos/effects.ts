import { CloveError } from '../../errors/index.ts';
import type { WorldFiles } from '../filesystem/types.ts';
import { compileGlob } from '../network/patterns.ts';
import type { FaultSpec, WorldNetwork } from '../network/types.ts';
import type { EventParams, WorldEvent } from './kinds.ts';
import type { ChaosTarget, MemberInfo } from './target.ts';

/** What an event has set and what takes it back: plain JSON, so that a snapshot can have it. */
export interface EffectRecord {
  readonly files: readonly string[];
  readonly network: readonly string[];
  readonly paused: readonly number[];
}

export interface Effect {
  readonly record: EffectRecord;
  /** Done at once and for good: nothing to end. */
  readonly isInstant: boolean;
  /** What it came to, for the log: names of files, members, keys. */
  readonly touched: readonly string[];
  /** Ends what no record can: pressure on processes. */
  readonly release: readonly (() => void)[];
}

const NOTHING: EffectRecord = { files: [], network: [], paused: [] };

/** Lets an event begin. @throws BAD_REQUEST where the world has nothing it could act on */
export function begin(event: WorldEvent, target: ChaosTarget): Effect {
  switch (event.kind) {
    case 'disk_full':
      return onFiles(target, event, (files) => [files.faults.set({ kind: 'full', ...pathOf(event.params) })]);
    case 'readonly':
      return onFiles(target, event, (files) => [
        files.faults.set({ kind: 'readonly', ...pathOf(event.params) }),
      ]);
    case 'disk_fail': {
      const { operation, probability } = event.params;
      const kinds = {
        read: ['read_failure'],
        write: ['write_failure'],
        both: ['read_failure', 'write_failure'],
      } as const;
      return onFiles(target, event, (files) =>
        kinds[operation].map((kind) => files.faults.set({ kind, probability, ...pathOf(event.params) })),
      );
    }
    case 'slow_io': {
      const { ms, jitter_ms } = event.params;
      return onFiles(target, event, (files) => [
        files.faults.set({ kind: 'slow', ms, jitterMs: jitter_ms, ...pathOf(event.params) }),
      ]);
    }
    case 'file_corruption': {
      const { path, files: count, bytes } = event.params;
      const random = target.random('event/file_corruption');
      const touched = filesOf(target, event.kind).corrupt(path, { files: count, bytes, random });
      return { record: NOTHING, isInstant: true, touched, release: [] };
    }
    case 'data_corruption':
      return corruptData(event.params, target);
    case 'network_partition': {
      const { hosts, agents, between, hang_ms } = event.params;
      // Between members it is messages that do not arrive; the world looks at active events for that.
      if (between !== undefined && hosts === undefined && agents === undefined) return lasting(NOTHING);
      return onNetwork(target, event, [
        {
          kind: 'partition',
          ...scope({ hosts, agents }),
          ...(hang_ms === undefined ? {} : { hangMs: hang_ms }),
        },
      ]);
    }
    case 'latency_spike': {
      const { ms, jitter_ms } = event.params;
      return onNetwork(target, event, [{ kind: 'latency', ms, jitterMs: jitter_ms, ...scope(event.params) }]);
    }
    case 'bandwidth_limit':
      return onNetwork(target, event, [
        { kind: 'bandwidth', bytesPerSecond: event.params.bytes_per_second, ...scope(event.params) },
      ]);
    case 'packet_loss': {
      const { probability, retransmit_ms } = event.params;
      const retransmit = retransmit_ms === undefined ? {} : { retransmitMs: retransmit_ms };
      return onNetwork(target, event, [{ kind: 'loss', probability, ...retransmit, ...scope(event.params) }]);
    }
    case 'connection_reset':
      return onNetwork(target, event, [
        { kind: 'reset', probability: event.params.probability, ...scope(event.params) },
      ]);
    case 'dns_failure': {
      const { rcode, probability } = event.params;
      return onNetwork(target, event, [{ kind: 'dns_failure', rcode, probability, ...scope(event.params) }]);
    }
    case 'tls_expiry':
      return onNetwork(target, event, [{ kind: 'tls_expiry', ...scope(event.params) }]);
    case 'error_rate': {
      const { probability, status, body } = event.params;
      return onNetwork(target, event, [
        {
          kind: 'error_rate',
          probability,
          status,
          ...(body === undefined ? {} : { body }),
          ...scope(event.params),
        },
      ]);
    }
    case 'http_failure':
      networkOf(target, event.kind);
      return lasting(NOTHING);
    case 'agent_crash': {
      const victims = choose(target, event);
      for (const { id } of victims) target.members.crash(id);
      return { record: NOTHING, isInstant: true, touched: victims.map(labelOf), release: [] };
    }
    case 'agent_pause': {
      const victims = choose(target, event);
      // One that ends meanwhile needs no pause.
      for (const { id } of victims) target.members.pause(id).catch(() => {});
      return {
        ...lasting({ ...NOTHING, paused: victims.map(({ id }) => id) }),
        touched: victims.map(labelOf),
      };
    }
    case 'memory_pressure':
    case 'cpu_contention': {
      const { pressure } = target;
      if (pressure === null) throw cannot(event.kind, target, 'its members are in sandboxes of their own');
      const victims = choose(target, { kind: event.kind, params: { ...event.params, count: 10_000 } });
      const press = event.kind === 'memory_pressure' ? pressure.memory : pressure.cpu;
      const release = victims.map(({ id }) => press.call(pressure, id, event.params.percent));
      return { ...lasting(NOTHING), touched: victims.map(labelOf), release };
    }
    case 'clock_skew':
      return lasting(NOTHING);
    case 'load_spike': {
      const network = networkOf(target, event.kind);
      const { url, latency_ms } = event.params;
      const host = URL.parse(url)?.hostname;
      if (host === undefined) throw new CloveError('BAD_REQUEST', `event load_spike: ${url} is no URL`);
      const slower: FaultSpec[] =
        latency_ms === 0 ? [] : [{ kind: 'latency', ms: latency_ms, hosts: [host] }];
      return lasting({ ...NOTHING, network: slower.map((spec) => network.faults.set(spec)) });
    }
  }
}

/** Takes back what an event has set. */
export function end(effect: Pick<Effect, 'record' | 'release'>, target: ChaosTarget): void {
  const { files, network, paused } = effect.record;
  for (const handle of files) target.files?.faults.clear(handle);
  for (const handle of network) target.network?.faults.clear(handle);
  for (const id of paused) target.members.resume(id).catch(() => {});
  for (const release of effect.release) release();
}

function lasting(record: EffectRecord): Effect {
  return { record, isInstant: false, touched: [], release: [] };
}

function onFiles(target: ChaosTarget, { kind }: WorldEvent, set: (files: WorldFiles) => string[]): Effect {
  return lasting({ ...NOTHING, files: set(filesOf(target, kind)) });
}

function onNetwork(target: ChaosTarget, { kind }: WorldEvent, specs: readonly FaultSpec[]): Effect {
  const network = networkOf(target, kind);
  const set: string[] = [];
  try {
    for (const spec of specs) set.push(network.faults.set(spec));
  } catch (error) {
    for (const handle of set) network.faults.clear(handle);
    throw error;
  }
  return lasting({ ...NOTHING, network: set });
}

function filesOf(target: ChaosTarget, kind: string): WorldFiles {
  if (target.files !== null) return target.files;
  throw cannot(kind, target, 'its members keep their own files');
}

function networkOf(target: ChaosTarget, kind: string): WorldNetwork {
  if (target.network !== null) return target.network;
  throw cannot(kind, target, 'its members keep their own network');
}

function cannot(kind: string, { form }: ChaosTarget, why: string): CloveError {
  return new CloveError('BAD_REQUEST', `event ${kind} cannot act in this ${form} world: ${why}`);
}

function pathOf({ path }: { readonly path?: string | undefined }): { path?: string } {
  return path === undefined ? {} : { path };
}

function scope(params: { readonly hosts?: string[] | undefined; readonly agents?: string[] | undefined }) {
  return {
    ...(params.hosts === undefined ? {} : { hosts: params.hosts }),
    ...(params.agents === undefined ? {} : { agents: params.agents }),
  };
}

function labelOf({ id, name }: MemberInfo): string {
  return name === '' ? String(id) : name;
}

/** Who it strikes: of those named, so many, drawn. @throws NOT_FOUND */
function choose(
  target: ChaosTarget,
  {
    kind,
    params,
  }: {
    readonly kind: string;
    readonly params: { readonly agents?: string[] | undefined; readonly count: number };
  },
): MemberInfo[] {
  const isMeant = params.agents?.map(compileGlob);
  const candidates = target.members
    .list()
    .filter(({ isAgent, name }) => isAgent && (isMeant === undefined || isMeant.some((is) => is(name))));
  if (candidates.length === 0)
    throw new CloveError('NOT_FOUND', `event ${kind}: no agent of the world is meant`);
  return target.random(`event/${kind}`).shuffle(candidates).slice(0, params.count);
}

function corruptData(params: EventParams<'data_corruption'>, target: ChaosTarget): Effect {
  if (params.target === 'reads') {
    const files = filesOf(target, 'data_corruption');
    const handle = files.faults.set({
      kind: 'corrupt_reads',
      probability: params.probability,
      ...pathOf(params),
    });
    return lasting({ ...NOTHING, files: [handle] });
  }
  const store = target.state();
  const random = target.random('event/data_corruption');
  const isMeant = compileGlob(params.key);
  const known = store
    .keys(0, { prefix: '', scope: 'global', after: '', limit: 100_000 })
    .keys.filter(isMeant);
  const chosen = random.shuffle(known).slice(0, params.keys);
  for (const key of chosen) {
    const found = store.fetch(0, key, 'global');
    if (found === null) continue;
    const text = JSON.stringify(damaged(JSON.parse(found.text), random.next()));
    // In memory: it is done when the call returns. Where there is no room for it, the value stays as it was.
    store.store(0, { key, scope: 'global', ttlMs: null, text }).catch(() => {});
  }
  return { record: NOTHING, isInstant: true, touched: chosen, release: [] };
}

/** A value that is still of its kind, and wrong. */
function damaged(value: unknown, draw: number): unknown {
  if (typeof value === 'number') return draw < 0.5 ? -value - 1 : value * 10 + 1;
  if (typeof value === 'boolean') return !value;
  if (typeof value === 'string') {
    const at = Math.floor(draw * Math.max(1, value.length));
    return `${value.slice(0, at)}\u0001${value.slice(at + 1)}`;
  }
  if (Array.isArray(value)) return value.length === 0 ? [null] : value.slice(0, -1);
  if (value !== null && typeof value === 'object') {
    const keys = Object.keys(value);
    const lost = keys[Math.floor(draw * keys.length)];
    return Object.fromEntries(Object.entries(value).filter(([key]) => key !== lost));
  }
  return 'corrupt';
}
