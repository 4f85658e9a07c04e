import { http, type RequestHandler } from 'msw';
import type { Draws } from './draws.ts';
import { currentExchange, type Exchange } from './exchange.ts';
import { copyOf, plainResponse } from './messages.ts';
import { compileGlob, hostMatcher, portOf } from './patterns.ts';
import type { NetworkConfig, ServicesConfig } from './schema.ts';
import type { LiveService } from './service.ts';

/** One part of a definition that may answer; null = it does not. */
export type Part = (exchange: Exchange) => Promise<Response | null> | Response | null;

/** A delay of a part: time may be skipped over it. */
export type Idle = (ms: number) => Promise<void>;

/** The first part that answers does. */
export function definitionHandler(parts: readonly Part[]): RequestHandler {
  return http.all(
    () => true,
    async () => {
      const exchange = currentExchange();
      for (const part of parts) {
        const answer = await part(exchange);
        if (answer !== null) return answer;
      }
      return undefined;
    },
  );
}

export function servicePart(
  service: ServicesConfig[string],
  live: LiveService,
  { draws, idle }: { readonly draws: Draws; readonly idle: Idle },
): Part {
  const isHost = hostMatcher(service.host);
  return async (exchange) => {
    if (!isHost(exchange.url.hostname, portOf(exchange.url))) return null;
    const delay = service.delay_ms;
    const ms =
      typeof delay === 'number'
        ? delay
        : delay.min + draws.next(`delay/${live.name}`).next() * (delay.max - delay.min);
    if (ms > 0) await idle(ms);
    const answer = await live.answer(copyOf(exchange.request, exchange.body), exchange.caller);
    if (answer !== null) exchange.matched = `service:${live.name}`;
    return answer;
  };
}

export function mocksPart(mocks: ReadonlyMap<string, NetworkConfig['mocks'][string]>, idle: Idle): Part {
  const patterns = [...mocks]
    .filter(([url]) => url.includes('*'))
    .map(([url]) => [url, compileGlob(url)] as const);
  const find = (href: string) => {
    // URL parsing adds the slash that people leave out after a host.
    const exact = [href, href.endsWith('/') ? href.slice(0, -1) : null].find(
      (url) => url !== null && mocks.has(url),
    );
    return exact ?? patterns.find(([, is]) => is(href))?.[0] ?? null;
  };
  return async (exchange) => {
    const url = find(exchange.url.href);
    const mock = url === null ? undefined : mocks.get(url);
    if (mock === undefined) return null;
    exchange.matched = `mock:${url}`;
    if (mock.latency_ms > 0) await idle(mock.latency_ms);
    return plainResponse(mock);
  };
}
