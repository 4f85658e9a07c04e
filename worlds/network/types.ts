import type { Har } from './har.ts';

/**
 * What the network needs of a world's clock; every WorldClock has it. Times are the world's: virtual ms.
 * Nothing here reads the host's clock but the log, which keeps both times.
 */
export interface NetworkClock {
  /** Virtual ms since the epoch. */
  nowMs(): number;
  sleep(ms: number, signal?: AbortSignal, owner?: string): Promise<void>;
  /** Time may not be skipped while one is held. */
  lease(reason: string): Disposable;
}

/** Who makes a request. `agentId` 0 = the operator or the world itself. */
export interface NetworkCaller {
  readonly agentId: number;
  readonly agentName: string;
}

export type NetworkMode = 'mock' | 'record' | 'replay' | 'passthrough';

/** Hosts and agents that a fault is meant for; absent = all. Patterns as in routes: `api.test`, `*.test`, `*`. */
export interface FaultScope {
  readonly hosts?: readonly string[] | undefined;
  /** Names of agents, `*` as a wild card. */
  readonly agents?: readonly string[] | undefined;
}

/** One disturbance. Probabilities are drawn from the world's luck; times are the world's. */
export type FaultSpec = FaultScope &
  (
    | {
        /** Nothing passes between the agents and the hosts in scope. `hangMs`: how long until the caller is told. */
        readonly kind: 'partition';
        readonly hangMs?: number | undefined;
      }
    | { readonly kind: 'latency'; readonly ms: number; readonly jitterMs?: number | undefined }
    | { readonly kind: 'bandwidth'; readonly bytesPerSecond: number }
    | {
        /** Each message is lost with this probability and sent again after `retransmitMs`, doubling; after six losses the connection is reset. */
        readonly kind: 'loss';
        readonly probability: number;
        readonly retransmitMs?: number | undefined;
      }
    | { readonly kind: 'reset'; readonly probability?: number | undefined }
    | {
        readonly kind: 'dns_failure';
        readonly rcode?: 'SERVFAIL' | 'NXDOMAIN' | 'timeout' | undefined;
        readonly probability?: number | undefined;
      }
    | { readonly kind: 'tls_expiry' }
    | {
        readonly kind: 'error_rate';
        readonly probability?: number | undefined;
        readonly status?: number | undefined;
        readonly body?: string | undefined;
      }
  );

export type FaultKind = FaultSpec['kind'];
export const FAULT_KINDS = [
  'partition',
  'latency',
  'bandwidth',
  'loss',
  'reset',
  'dns_failure',
  'tls_expiry',
  'error_rate',
] as const satisfies readonly FaultKind[];

export interface ActiveFault {
  readonly handle: string;
  readonly spec: FaultSpec;
  /** Virtual ms since the epoch. */
  readonly since: number;
  /** Requests it changed. */
  readonly hits: number;
}

export interface NetworkFaults {
  /** The handle that takes it back. @throws BAD_REQUEST */
  set(spec: FaultSpec): string;
  /** Whether there was one with this handle. */
  clear(handle: string): boolean;
  clearAll(): void;
  list(): readonly ActiveFault[];
}

/** `answered`: a response was given, of whatever status; `refused`: nothing in the definition answers; `failed`: a fault or an error. */
export type NetworkOutcome = 'answered' | 'refused' | 'failed';

/** A body as it is kept: text where it is UTF-8, else base64; `truncated` when only the beginning is. */
export interface LoggedBody {
  readonly text: string;
  readonly encoding?: 'base64' | undefined;
  readonly bytes: number;
  readonly truncated?: true | undefined;
}

export interface NetworkLogEntry {
  /** Counts from 1 and never again, also over restores. */
  readonly id: number;
  readonly kind: 'http' | 'websocket' | 'tcp' | 'dns' | 'tls';
  readonly agentId: number;
  readonly agentName: string;
  /** Virtual ms since the epoch. */
  readonly at: number;
  /** Ms since the epoch on the host. */
  readonly realAt: number;
  /** Virtual ms. */
  readonly durationMs: number;
  /** HTTP method; of a DNS query the type. */
  readonly method: string;
  /** URL; of DNS the name, of TCP `tcp://host:port`. */
  readonly url: string;
  readonly outcome: NetworkOutcome;
  /** What answered: `route:<n or id>`, `service:<name>`, `handler:<n>`, `mock:<pattern>`, `cassette`, `upstream`, `default`; null = nothing did. */
  readonly matched: string | null;
  /** Kinds of the faults that acted on it. */
  readonly faults: readonly FaultKind[];
  /** Why it was refused or failed. */
  readonly reason?: string | undefined;
  readonly status: number | null;
  readonly requestHeaders: readonly (readonly [string, string])[];
  readonly requestBody: LoggedBody | null;
  readonly responseHeaders: readonly (readonly [string, string])[];
  readonly responseBody: LoggedBody | null;
}

export interface NetworkLogFilter {
  readonly agent?: string | number | undefined;
  /** Host pattern. */
  readonly host?: string | undefined;
  readonly kind?: NetworkLogEntry['kind'] | undefined;
  readonly outcome?: NetworkOutcome | undefined;
  readonly method?: string | undefined;
  /** Entries with an id above this one. */
  readonly after?: number | undefined;
  readonly limit?: number | undefined;
}

export interface NetworkLog {
  /** Oldest first. */
  entries(filter?: NetworkLogFilter): readonly NetworkLogEntry[];
  /** How many of the oldest were let go because the log is bounded. */
  readonly dropped: number;
  readonly total: number;
  /** HTTP and WebSocket entries as an HTTP archive 1.2. */
  toHar(filter?: NetworkLogFilter): Har;
  /** Called with every new entry; returns how to stop. */
  onEntry(listener: (entry: NetworkLogEntry) => void): () => void;
}

/** Field names as the state of a world answers them. */
export interface NetworkMetrics {
  readonly mode: NetworkMode;
  readonly mock_count: number;
  readonly requests_intercepted: number;
  readonly requests_passed_through: number;
  readonly requests_failed: number;
  readonly requests_refused: number;
  readonly recorded_count: number;
  /** Answers of real hosts that there was no room for: a replay of what was kept lacks them. */
  readonly recorded_dropped: number;
  readonly log_dropped: number;
}

/** Plain JSON. Faults are kept: who set them knows their handles. */
export interface NetworkState {
  readonly version: 1;
  readonly mode: NetworkMode;
  /** Calls per route, for sequences and `{{calls}}`. */
  readonly calls: Readonly<Record<string, number>>;
  /** Draws per purpose, so that luck goes on where it was. */
  readonly draws: Readonly<Record<string, number>>;
  /** State of the services by name. */
  readonly services: Readonly<Record<string, unknown>>;
  readonly faults: readonly { readonly handle: string; readonly spec: FaultSpec; readonly since: number }[];
  readonly cassette: readonly unknown[];
  readonly cassettePosition: Readonly<Record<string, number>>;
  readonly lastEntryId: number;
  readonly lastFault: number;
  readonly counters: Readonly<Record<string, number>>;
}

/**
 * The network of one world. The virtual form answers `fetch`; the mounted form puts real sockets of real processes
 * in front of the same one.
 */
export interface WorldNetwork {
  /**
   * Answers as the definition says, after delays and faults. The response body is whole unless it is a stream of events.
   * @throws NETWORK_REFUSED (nothing answers), NETWORK_FAULT (details.fault = kind), PAYLOAD_TOO_LARGE, CANCELLED
   */
  fetch(request: Request, caller: NetworkCaller): Promise<Response>;
  readonly mode: NetworkMode;
  readonly log: NetworkLog;
  metrics(): NetworkMetrics;
  readonly faults: NetworkFaults;
  snapshot(): NetworkState;
  /** Into a network made of the same definition. @throws DATA_CORRUPT */
  restore(state: NetworkState): void;
  close(): void;
}
