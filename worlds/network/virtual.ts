import { getResponse, isPassthroughResponse, type RequestHandler } from 'msw';
import { CloveError, isCloveError } from '../../errors/index.ts';
import type { Luck } from '../luck/streams.ts';
import { readAll } from './body.ts';
import { Busy, busy } from './busy.ts';
import { Cassette } from './cassette.ts';
import { collectionService } from './collections.ts';
import { disturb } from './disturbances.ts';
import { Draws } from './draws.ts';
import { type Exchange, inExchange } from './exchange.ts';
import { FaultBoard } from './faults.ts';
import { RequestLog } from './log.ts';
import { copyOf, hasNoBody, isEventStream, plainResponse } from './messages.ts';
import { importHandlers, importService, readCassette } from './modules.ts';
import { definitionHandler, mocksPart, type Part, servicePart } from './parts.ts';
import { hostMatcher, parseHostPattern, portOf } from './patterns.ts';
import { ResetConnection, Router } from './router.ts';
import type { NetworkConfig, ServicesConfig } from './schema.ts';
import { LiveService, type ServiceDefinition } from './service.ts';
import type {
  FaultKind,
  NetworkCaller,
  NetworkClock,
  NetworkLogEntry,
  NetworkMetrics,
  NetworkMode,
  NetworkState,
  WorldNetwork,
} from './types.ts';

/** Asks a real host. Whoever gives one answers for its being allowed and audited. */
export type Upstream = (request: Request, caller: NetworkCaller) => Promise<Response>;

export interface NetworkSurroundings {
  readonly clock: NetworkClock;
  readonly luck: Pick<Luck, 'stream'>;
  /** Folder of the definition, for modules and cassettes; null = it may name none (it came over a socket). */
  readonly folder?: string | null;
  /** For the hosts of `allow` in the modes record and passthrough. */
  readonly upstream?: Upstream | null;
}

/** Which part of the faults the caller acts out itself: real connections are slowed and cut by the gateway. */
export interface AnswerOptions {
  readonly onWire?: boolean;
}

/**
 * The network of a world inside the kernel process. @throws CONFIG, FORBIDDEN, DATA_CORRUPT for definitions that cannot be had
 */
export async function createVirtualNetwork(
  config: { readonly network: NetworkConfig; readonly services?: ServicesConfig },
  surroundings: NetworkSurroundings,
): Promise<VirtualNetwork> {
  const { network, services = {} } = config;
  const folder = surroundings.folder ?? null;
  if (network.allow.length > 0 && surroundings.upstream == null)
    throw new CloveError('FORBIDDEN', 'network.allow names real hosts, but this world may reach none', {
      hint: 'Whoever starts the world must allow the way out.',
    });
  const handlers = (await Promise.all(network.handlers.map((file) => importHandlers(folder, file)))).flat();
  const definitions = await Promise.all(
    Object.entries(services).map(async ([name, service]) => ({
      name,
      service,
      definition:
        service.service ??
        (service.module === undefined
          ? collectionService(service.collections ?? {})
          : await importService(folder, service.module)),
    })),
  );
  const fromFile =
    network.cassette_file === undefined ? [] : await readCassette(folder, network.cassette_file);
  return new VirtualNetwork(network, surroundings, handlers, definitions, [...fromFile, ...network.cassette]);
}

interface LoadedService {
  readonly name: string;
  readonly service: ServicesConfig[string];
  readonly definition: ServiceDefinition;
}

export class VirtualNetwork implements WorldNetwork {
  readonly mode: NetworkMode;
  readonly log: RequestLog;
  readonly faults: FaultBoard;
  readonly config: NetworkConfig;
  readonly clock: NetworkClock;
  readonly #draws: Draws;
  readonly #router: Router;
  readonly #services: readonly LiveService[];
  readonly #handlers: readonly RequestHandler[];
  readonly #mockCount: number;
  readonly #cassette = new Cassette();
  readonly #upstream: Upstream | null;
  readonly #isAllowed: (host: string, port?: number) => boolean;
  readonly #closed = new AbortController();
  /** Names that somebody declared, as patterns. */
  readonly declaredHosts: readonly string[];
  #counters = { intercepted: 0, passedThrough: 0, failed: 0, refused: 0 };

  constructor(
    config: NetworkConfig,
    { clock, luck, upstream = null }: NetworkSurroundings,
    handlers: readonly RequestHandler[],
    services: readonly LoadedService[],
    cassette: readonly unknown[],
  ) {
    this.config = config;
    this.mode = config.mode;
    this.clock = clock;
    this.log = new RequestLog(config.limits.log_entries, config.limits.log_body_bytes);
    this.#draws = new Draws(luck);
    this.faults = new FaultBoard(this.#draws, () => clock.nowMs());
    for (const fault of config.faults) this.faults.set(fault);
    this.#upstream = upstream;
    this.#isAllowed = config.allow.length === 0 ? () => false : hostMatcher(config.allow);
    this.#router = new Router(config.routes, {
      nowMs: () => clock.nowMs(),
      draws: this.#draws,
      sleep: (ms, signal) => this.#idle(ms, signal === undefined ? undefined : this.#until(signal)),
    });
    this.#services = services.map(
      ({ name, service, definition }) =>
        new LiveService(name, definition, service.state, {
          now: () => clock.nowMs(),
          random: () => this.#draws.next(`service/${name}`).next(),
        }),
    );
    const mocks = new Map(Object.entries(config.mocks));
    this.#mockCount = mocks.size + config.routes.length + handlers.length;
    const idle = (ms: number) => this.#idle(ms);
    const parts: readonly Part[] = [
      ...services.map(({ service }, index) =>
        servicePart(service, this.#services[index] as LiveService, { draws: this.#draws, idle }),
      ),
      ...(config.routes.length === 0 ? [] : [(exchange: Exchange) => this.#router.answer(exchange)]),
      ...(mocks.size === 0 ? [] : [mocksPart(mocks, idle)]),
    ];
    // msw copies the request for every handler: what is data is one of them.
    this.#handlers = [...handlers, ...(parts.length === 0 ? [] : [definitionHandler(parts)])];
    this.#cassette.load(cassette);
    this.declaredHosts = [
      ...new Set([
        ...config.routes.flatMap(({ host }) => host),
        ...services.flatMap(({ service }) => service.host),
        ...config.tcp.flatMap(({ host }) => host),
        ...config.websockets.flatMap(({ host }) => host),
        ...[...mocks.keys()].map(hostOfMock),
        ...handlers.flatMap(hostsOfHandler),
        ...config.allow,
        ...this.#cassette.snapshot().entries.flatMap(({ url }) => URL.parse(url)?.hostname ?? []),
      ]),
    ];
  }

  async fetch(request: Request, caller: NetworkCaller): Promise<Response> {
    return this.answer(request, caller);
  }

  /** As `fetch`; on real connections names, certificates and bandwidth are somebody else's part. */
  async answer(
    request: Request,
    caller: NetworkCaller,
    { onWire = false }: AnswerOptions = {},
  ): Promise<Response> {
    const startedAt = this.clock.nowMs();
    const realAt = Date.now();
    const url = new URL(request.url);
    this.#counters.intercepted += 1;
    using lease = new Busy(this.clock, request.signal, caller.agentName);
    const faults = new Set<FaultKind>();
    let exchange: Exchange | null = null;
    let body: Uint8Array<ArrayBuffer> | null = null;
    const entry = (part: Partial<NetworkLogEntry> & Pick<NetworkLogEntry, 'outcome'>) =>
      this.log.add({
        kind: 'http',
        agentId: caller.agentId,
        agentName: caller.agentName,
        at: startedAt,
        realAt,
        durationMs: this.clock.nowMs() - startedAt,
        method: request.method,
        url: url.href,
        matched: exchange?.matched ?? null,
        faults: [...faults],
        status: null,
        requestHeaders: [...request.headers],
        requestBody: body === null || body.length === 0 ? null : this.log.keep(body),
        responseHeaders: [],
        responseBody: null,
        ...part,
      });
    try {
      body = await readAll(request.body, this.config.limits.request_bytes, 'the body of the request');
      exchange = { request: copyOf(request, body), url, caller, body, faults, matched: null };
      const answered = exchange;
      const sleep = (ms: number) =>
        lease.during(() => this.clock.sleep(ms, this.#until(request.signal), caller.agentName));
      const early = await disturb(answered, { faults: this.faults, sleep, onWire });
      const response = early ?? (await busy.run(lease, () => this.#respond(answered)));
      if (response === null) {
        this.#counters.refused += 1;
        throw new CloveError(
          'NETWORK_REFUSED',
          `nothing in this world answers ${request.method} ${url.href}`,
          {
            hint: 'Declare a route, a service or a default_response for it.',
            details: { method: request.method, url: url.href },
          },
        );
      }
      if (isEventStream(response)) {
        entry({ outcome: 'answered', status: response.status, responseHeaders: [...response.headers] });
        return response;
      }
      const bytes = await readAll(
        response.body,
        this.config.limits.response_bytes,
        'the body of the response',
      );
      if (!onWire) {
        const perSecond = this.faults.bytesPerSecond(url.hostname, caller);
        if (perSecond !== null) {
          faults.add('bandwidth');
          await sleep((bytes.length / perSecond) * 1000);
        }
      }
      entry({
        outcome: 'answered',
        status: response.status,
        responseHeaders: [...response.headers],
        responseBody: this.log.keep(bytes),
      });
      return new Response(hasNoBody(response.status) ? null : bytes, {
        status: response.status,
        statusText: response.statusText,
        headers: response.headers,
      });
    } catch (thrown) {
      const error = this.#errorOf(thrown, faults, request.signal);
      if (error.code !== 'NETWORK_REFUSED') this.#counters.failed += 1;
      entry({ outcome: error.code === 'NETWORK_REFUSED' ? 'refused' : 'failed', reason: error.message });
      throw error;
    }
  }

  async #respond(exchange: Exchange): Promise<Response | null> {
    const mocked = await inExchange(exchange, () => getResponse([...this.#handlers], exchange.request));
    if (mocked !== undefined && !isPassthroughResponse(mocked)) {
      if (mocked.type === 'error') throw new ResetConnection('a handler answered with a network error');
      exchange.matched ??= 'handler';
      return mocked;
    }
    if (this.mode === 'replay') {
      const played = this.#cassette.play(exchange);
      if (played !== null) {
        exchange.matched = 'cassette';
        return played;
      }
    }
    const asked = await this.#askUpstream(exchange);
    if (asked !== null) return asked;
    const fallback = this.config.default_response;
    if (fallback == null) return null;
    exchange.matched = 'default';
    if (fallback.latency_ms > 0) await this.#idle(fallback.latency_ms);
    return plainResponse(fallback);
  }

  async #askUpstream(exchange: Exchange): Promise<Response | null> {
    const { request, url, caller, body } = exchange;
    if (this.#upstream === null || (this.mode !== 'record' && this.mode !== 'passthrough')) return null;
    if (!this.#isAllowed(url.hostname, portOf(url))) return null;
    exchange.matched = 'upstream';
    this.#counters.passedThrough += 1;
    const signal = busy.current()?.signal ?? this.#closed.signal;
    const response = await this.#upstream(new Request(copyOf(request, body), { signal }), caller);
    if (this.mode === 'record') await this.#cassette.keep(exchange, response.clone());
    return response;
  }

  /** A delay of a handler: time may be skipped over it. */
  #idle(ms: number, signal?: AbortSignal): Promise<void> {
    const lease = busy.current();
    // After the answer: of what the request held nothing is left.
    if (lease === undefined || signal !== undefined)
      return this.clock.sleep(ms, signal ?? this.#closed.signal);
    return lease.during(() => this.clock.sleep(ms, this.#until(lease.signal), lease.owner));
  }

  #until(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#closed.signal]);
  }

  #errorOf(thrown: unknown, faults: Set<FaultKind>, signal: AbortSignal): CloveError {
    if (isCloveError(thrown)) return thrown;
    if (thrown instanceof ResetConnection) {
      faults.add('reset');
      return new CloveError('NETWORK_FAULT', thrown.message, { details: { fault: 'reset' } });
    }
    if (signal.aborted || this.#closed.signal.aborted)
      return new CloveError('CANCELLED', 'the request was given up', { cause: thrown });
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new CloveError('NETWORK_FAULT', `the world's own handler failed: ${message}`, {
      cause: thrown,
      details: { fault: 'handler' },
    });
  }

  metrics(): NetworkMetrics {
    return {
      mode: this.mode,
      mock_count: this.#mockCount,
      requests_intercepted: this.#counters.intercepted,
      requests_passed_through: this.#counters.passedThrough,
      requests_failed: this.#counters.failed,
      requests_refused: this.#counters.refused,
      recorded_count: this.#cassette.size,
      recorded_dropped: this.#cassette.dropped,
      log_dropped: this.log.dropped,
    };
  }

  snapshot(): NetworkState {
    const { entries, position } = this.#cassette.snapshot();
    return {
      version: 1,
      mode: this.mode,
      calls: this.#router.snapshot(),
      draws: this.#draws.snapshot(),
      services: Object.fromEntries(this.#services.map((service) => [service.name, service.snapshot()])),
      faults: this.faults.list().map(({ handle, spec, since }) => ({ handle, spec, since })),
      cassette: entries,
      cassettePosition: position,
      lastEntryId: this.log.lastId,
      lastFault: this.faults.lastFault,
      counters: { ...this.#counters },
    };
  }

  restore(state: NetworkState): void {
    if (state.version !== 1)
      throw new CloveError('DATA_CORRUPT', `state of a network of unknown version ${String(state.version)}`);
    const missing = Object.keys(state.services).find(
      (name) => !this.#services.some((one) => one.name === name),
    );
    if (missing !== undefined)
      throw new CloveError('DATA_CORRUPT', `the state has a service ${missing} that the definition has not`);
    this.#cassette.restore(state.cassette, state.cassettePosition);
    this.#router.restore(state.calls);
    this.#draws.restore(state.draws);
    for (const service of this.#services) {
      if (Object.hasOwn(state.services, service.name)) service.restore(state.services[service.name]);
    }
    this.faults.restore(state.faults);
    this.faults.lastFault = state.lastFault;
    this.log.lastId = state.lastEntryId;
    this.#counters = { ...this.#counters, ...state.counters };
  }

  /** Requests under way end as cancelled. */
  close(): void {
    this.#closed.abort(new CloveError('CANCELLED', 'the world is gone'));
  }
}

/** `*` where the pattern does not say which. */
function hostOfMock(pattern: string): string {
  const host = URL.parse(pattern.includes('://') ? pattern : `http://${pattern}`)?.hostname ?? '*';
  return parseHostPattern(host) === null ? '*' : host;
}

function hostsOfHandler(handler: RequestHandler): string[] {
  const { path } = handler.info as { readonly path?: unknown };
  if (typeof path !== 'string') return [];
  const host = /^[a-z*+]+:\/\/([^/:?#]+)/i.exec(path)?.[1];
  return host === undefined ? [] : [host];
}
