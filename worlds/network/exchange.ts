import { AsyncLocalStorage } from 'node:async_hooks';
import type { FaultKind, NetworkCaller } from './types.ts';

/** One request on its way through the network. */
export interface Exchange {
  readonly request: Request;
  readonly url: URL;
  readonly caller: NetworkCaller;
  readonly body: Uint8Array<ArrayBuffer>;
  /** Kinds of the faults that acted on it. */
  readonly faults: Set<FaultKind>;
  /** What answered. */
  matched: string | null;
}

// msw hands copies of the request to handlers; what belongs to the exchange travels beside them.
const current = new AsyncLocalStorage<Exchange>();

export function inExchange<Result>(exchange: Exchange, run: () => Promise<Result>): Promise<Result> {
  return current.run(exchange, run);
}

export function currentExchange(): Exchange {
  const exchange = current.getStore();
  if (exchange === undefined) throw new Error('no request of a world is being answered');
  return exchange;
}

/** For handlers of a world: who makes the request that is being answered. */
export function currentCaller(): NetworkCaller {
  return currentExchange().caller;
}

/** JSON, the fields of a form, or null; never throws. */
export function parsedBody(exchange: Exchange): unknown {
  const cached = parsed.get(exchange);
  if (cached !== undefined) return cached.value;
  const value = parseBody(exchange);
  parsed.set(exchange, { value });
  return value;
}

const parsed = new WeakMap<Exchange, { readonly value: unknown }>();

export function bodyText({ body }: Exchange): string {
  return new TextDecoder().decode(body);
}

function parseBody(exchange: Exchange): unknown {
  if (exchange.body.length === 0) return null;
  const type = exchange.request.headers.get('content-type') ?? '';
  if (type.includes('application/x-www-form-urlencoded')) {
    return Object.fromEntries(new URLSearchParams(bodyText(exchange)));
  }
  try {
    return JSON.parse(bodyText(exchange));
  } catch {
    return null;
  }
}
