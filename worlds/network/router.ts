import type { Draws } from './draws.ts';
import { bodyText, type Exchange, parsedBody } from './exchange.ts';
import {
  compileGlob,
  compilePath,
  matchesHost,
  type PathParams,
  parseHostPattern,
  portOf,
} from './patterns.ts';
import type { Reply, RouteConfig } from './schema.ts';
import { fillJson, fillText, type TemplateScope, uuidFrom } from './template.ts';

export interface RouterSurroundings {
  readonly nowMs: () => number;
  readonly draws: Draws;
  /** On the world's clock, until the request is given up, or the signal (of something after the answer) says so. */
  readonly sleep: Sleep;
}

type Sleep = (ms: number, signal?: AbortSignal) => Promise<void>;

/** Told by a handler instead of a response: the connection ends here. */
export class ResetConnection extends Error {}

interface CompiledRoute {
  readonly id: string;
  readonly config: RouteConfig;
  readonly matchUrl: (url: URL) => PathParams | null;
  readonly matchRest: (exchange: Exchange) => boolean;
}

/** All routes of a definition: the first that matches answers. */
export class Router {
  readonly #routes: readonly CompiledRoute[];
  readonly #around: RouterSurroundings;
  #calls = new Map<string, number>();

  constructor(routes: readonly RouteConfig[], around: RouterSurroundings) {
    this.#routes = routes.map(compile);
    this.#around = around;
  }

  /** The answer of the first route that matches; null = none does. */
  answer(exchange: Exchange): Promise<Response> | null {
    const found = this.#find(exchange);
    return found === null ? null : this.#respond(exchange, found.route, found.params);
  }

  snapshot(): Record<string, number> {
    return Object.fromEntries(this.#calls);
  }

  restore(calls: Readonly<Record<string, number>>): void {
    this.#calls = new Map(Object.entries(calls));
  }

  #find(exchange: Exchange): { readonly route: CompiledRoute; readonly params: PathParams } | null {
    for (const route of this.#routes) {
      const { method, probability } = route.config;
      if (!method.includes('*') && !method.includes(exchange.request.method)) continue;
      const params = route.matchUrl(exchange.url);
      if (params === null || !route.matchRest(exchange)) continue;
      if (!this.#around.draws.chance(`route/${exchange.caller.agentName}/${route.id}`, probability)) continue;
      return { route, params };
    }
    return null;
  }

  async #respond(exchange: Exchange, route: CompiledRoute, params: PathParams): Promise<Response> {
    exchange.matched = `route:${route.id}`;
    const { sequence, repeat, sequence_per } = route.config;
    const key = sequence_per === 'agent' ? `${route.id}/${exchange.caller.agentName}` : route.id;
    const calls = (this.#calls.get(key) ?? 0) + 1;
    this.#calls.set(key, calls);
    const reply: Reply =
      sequence === undefined ? route.config : (sequence[stepOf(calls, sequence.length, repeat)] as Reply);
    const delayMs = this.#delayOf(reply.delay_ms, exchange, route.id);
    if (delayMs > 0) await this.#around.sleep(delayMs);
    if (reply.reset) throw new ResetConnection(`route ${route.id} resets the connection`);
    const { draws } = this.#around;
    return toResponse(
      reply,
      scopeOf(exchange, params, calls, this.#around.nowMs(), () => {
        const luck = draws.next(`uuid/${exchange.caller.agentName}`);
        return uuidFrom([luck.uint32(), luck.uint32(), luck.uint32(), luck.uint32()]);
      }),
      this.#around.sleep,
    );
  }

  #delayOf(delay: Reply['delay_ms'], exchange: Exchange, id: string): number {
    if (typeof delay === 'number') return delay;
    const luck = this.#around.draws.next(`delay/${exchange.caller.agentName}/${id}`);
    return delay.min + luck.next() * (delay.max - delay.min);
  }
}

function stepOf(calls: number, length: number, repeat: 'last' | 'cycle'): number {
  return repeat === 'cycle' ? (calls - 1) % length : Math.min(calls, length) - 1;
}

function compile(config: RouteConfig, index: number): CompiledRoute {
  const hosts = config.host.flatMap((text) => parseHostPattern(text) ?? []);
  const path = compilePath(config.path);
  return {
    id: config.id ?? String(index),
    config,
    matchUrl: (url) => {
      const port = portOf(url);
      return hosts.some((host) => matchesHost(host, url.hostname, port)) ? path(url.pathname) : null;
    },
    matchRest: conditionsOf(config.when),
  };
}

function conditionsOf(when: RouteConfig['when']): (exchange: Exchange) => boolean {
  if (when === undefined) return () => true;
  const texts = (record: Readonly<Record<string, string>> | undefined) =>
    Object.entries(record ?? {}).map(([name, pattern]) => [name, compileGlob(pattern)] as const);
  const query = texts(when.query);
  const headers = texts(when.headers);
  const agent = when.agent === undefined ? null : compileGlob(when.agent);
  const { body } = when;
  return (exchange) =>
    query.every(([name, is]) => {
      const value = exchange.url.searchParams.get(name);
      return value !== null && is(value);
    }) &&
    headers.every(([name, is]) => {
      const value = exchange.request.headers.get(name);
      return value !== null && is(value);
    }) &&
    (agent === null || agent(exchange.caller.agentName)) &&
    (body === undefined ||
      (typeof body === 'string'
        ? compileGlob(body)(bodyText(exchange))
        : isPartOf(body, parsedBody(exchange))));
}

/** Whether everything of `part` is in `whole`, with the same values. */
function isPartOf(part: unknown, whole: unknown): boolean {
  if (typeof part !== 'object' || part === null) return part === whole;
  if (typeof whole !== 'object' || whole === null || Array.isArray(part) !== Array.isArray(whole))
    return false;
  return Object.entries(part).every(
    ([key, value]) => Object.hasOwn(whole, key) && isPartOf(value, (whole as Record<string, unknown>)[key]),
  );
}

function scopeOf(
  exchange: Exchange,
  params: PathParams,
  calls: number,
  nowMs: number,
  drawUuid: () => string,
): TemplateScope {
  const { request, url, caller } = exchange;
  let text: string | undefined;
  return {
    params,
    calls,
    nowMs,
    method: request.method,
    url: url.href,
    host: url.host,
    path: url.pathname,
    agent: caller.agentName,
    now: new Date(nowMs).toISOString(),
    // Worked out only where a template asks for them.
    get query() {
      return Object.fromEntries(url.searchParams);
    },
    get headers() {
      return Object.fromEntries(request.headers);
    },
    get body() {
      return parsedBody(exchange);
    },
    get text() {
      text ??= bodyText(exchange);
      return text;
    },
    get uuid() {
      return drawUuid();
    },
  };
}

function toResponse(reply: Reply, scope: TemplateScope, sleep: Sleep): Response {
  const headers = new Headers();
  for (const [name, value] of Object.entries(reply.headers)) headers.append(name, fillText(value, scope));
  const withType = (type: string) => {
    if (!headers.has('content-type')) headers.set('content-type', type);
  };
  const { status } = reply;
  // These have no body, whatever the definition says (Fetch standard, null body status).
  if (status === 204 || status === 205 || status === 304) return new Response(null, { status, headers });
  if (reply.json !== undefined) {
    withType('application/json');
    return new Response(JSON.stringify(fillJson(reply.json, scope)), { status, headers });
  }
  if (reply.body_base64 !== undefined) {
    withType('application/octet-stream');
    return new Response(Buffer.from(reply.body_base64, 'base64'), { status, headers });
  }
  if (reply.events !== undefined) {
    withType('text/event-stream');
    headers.set('cache-control', headers.get('cache-control') ?? 'no-store');
    return new Response(eventStream(reply.events, scope, sleep), { status, headers });
  }
  withType('text/plain; charset=utf-8');
  return new Response(fillText(reply.body ?? '', scope), { status, headers });
}

function eventStream(
  events: NonNullable<Reply['events']>,
  scope: TemplateScope,
  sleep: Sleep,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const gone = new AbortController();
  let next = 0;
  return new ReadableStream<Uint8Array>({
    cancel() {
      gone.abort();
    },
    async pull(controller) {
      const event = events[next];
      next += 1;
      if (event === undefined) return controller.close();
      if (event.delay_ms > 0) await sleep(event.delay_ms, gone.signal);
      const filled = fillJson(event.data, scope);
      const data = typeof filled === 'string' ? filled : JSON.stringify(filled);
      const lines = [
        ...(event.event === undefined ? [] : [`event: ${event.event}`]),
        ...(event.id === undefined ? [] : [`id: ${event.id}`]),
        ...data.split(/\r\n|\r|\n/).map((line) => `data: ${line}`),
      ];
      controller.enqueue(encoder.encode(`${lines.join('\n')}\n\n`));
    },
  });
}
