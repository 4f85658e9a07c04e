import { compilePath, type PathParams } from './patterns.ts';
import type { NetworkCaller } from './types.ts';

/** What a route of a service is called with. `state` may be changed in place; it is in every snapshot, so plain JSON only. */
export interface ServiceCall<State> {
  readonly state: State;
  readonly request: Request;
  readonly params: PathParams;
  readonly query: URLSearchParams;
  readonly caller: NetworkCaller;
  /** The world's time, ms since the epoch. */
  readonly now: number;
  /** Uniform in [0, 1), from the world's luck. */
  random(): number;
  json<T = unknown>(): Promise<T>;
}

/** A response, or a value that becomes JSON with status 200; nothing = 204. */
export type ServiceAnswer = Response | object | string | number | boolean | null | undefined;
export type ServiceRoute<State> = (call: ServiceCall<State>) => ServiceAnswer | Promise<ServiceAnswer>;

/** What defineService gives; the type of the state is its own business. */
export interface ServiceDefinition {
  readonly [SERVICE]: true;
  readonly state: unknown;
  /** `'POST /orders/:id'` → what answers. */
  readonly routes: Readonly<Record<string, ServiceRoute<unknown>>>;
}

const SERVICE = Symbol.for('clove.world.service');

/**
 * A service with a memory, in a few lines:
 *
 *     export default defineService({
 *       state: { orders: [] as Order[] },
 *       routes: {
 *         'GET /orders': ({ state }) => state.orders,
 *         'POST /orders': async ({ state, json }) => { state.orders.push(await json()); return { ok: true } },
 *       },
 *     });
 */
export function defineService<State>(service: {
  readonly state: State;
  readonly routes: Readonly<Record<string, ServiceRoute<State>>>;
}): ServiceDefinition {
  // Each route is called with a copy of the very state it is declared with.
  const routes = service.routes as Readonly<Record<string, ServiceRoute<unknown>>>;
  return Object.freeze({ state: service.state, routes, [SERVICE]: true as const });
}

export function isServiceDefinition(value: unknown): value is ServiceDefinition {
  return typeof value === 'object' && value !== null && SERVICE in value;
}

interface CompiledRoute {
  readonly method: string;
  readonly match: (path: string) => PathParams | null;
  readonly run: ServiceRoute<unknown>;
}

export interface ServiceSurroundings {
  readonly now: () => number;
  readonly random: () => number;
}

/** One service of one world, with its own copy of the state. */
export class LiveService {
  readonly name: string;
  #state: unknown;
  readonly #routes: readonly CompiledRoute[];
  readonly #surroundings: ServiceSurroundings;

  constructor(
    name: string,
    definition: ServiceDefinition,
    state: unknown,
    surroundings: ServiceSurroundings,
  ) {
    this.name = name;
    this.#state = structuredClone(state ?? definition.state);
    this.#surroundings = surroundings;
    this.#routes = Object.entries(definition.routes).map(([key, run]) => {
      const [, method = '*', path = '/'] = /^(?:([A-Za-z]+|\*)\s+)?(\/\S*)$/.exec(key) ?? [];
      return { method: method.toUpperCase(), match: compilePath(path), run };
    });
  }

  /** null = it has no such route. */
  async answer(request: Request, caller: NetworkCaller): Promise<Response | null> {
    const url = new URL(request.url);
    for (const { method, match, run } of this.#routes) {
      if (method !== '*' && method !== request.method) continue;
      const params = match(url.pathname);
      if (params === null) continue;
      const answer = await run({
        state: this.#state,
        request,
        params,
        query: url.searchParams,
        caller,
        now: this.#surroundings.now(),
        random: this.#surroundings.random,
        json: <T>() => request.json() as Promise<T>,
      });
      if (answer instanceof Response) return answer;
      if (answer === undefined) return new Response(null, { status: 204 });
      return Response.json(answer);
    }
    return null;
  }

  snapshot(): unknown {
    return structuredClone(this.#state);
  }

  restore(state: unknown): void {
    this.#state = structuredClone(state);
  }
}
