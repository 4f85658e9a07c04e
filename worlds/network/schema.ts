import { z } from 'zod';
import { parseHostPattern } from './patterns.ts';
import { isServiceDefinition, type ServiceDefinition } from './service.ts';
import type { FaultSpec } from './types.ts';

// The `network` and `services` parts of a world's definition. Everything is bounded: a definition may come from an agent.

const MAX_ROUTES = 2000;
const MAX_TEXT = 4 * 2 ** 20;

export const hostPattern = z
  .string()
  .max(260)
  .refine(
    (text) => parseHostPattern(text) !== null,
    'expected a host such as api.test, *.test, * or api.test:8443',
  );
const hosts = z
  .union([hostPattern, z.array(hostPattern).min(1).max(64)])
  .transform((value) => [value].flat());

const plainPath = z.string().max(2048).startsWith('/');
const status = z.int().min(200).max(599);
const milliseconds = z.number().min(0).max(86_400_000);
const probability = z.number().min(0).max(1);
const headerName = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'expected the name of a header');
const headers = z.record(headerName, z.string().max(16_384)).default({});
const delay = z.union([
  milliseconds,
  z
    .strictObject({ min: milliseconds, max: milliseconds })
    .refine(({ min, max }) => min <= max, 'min must not be above max'),
]);
/** A module of the world's folder; only definitions read from a file may have one. */
const modulePath = z
  .string()
  .max(1024)
  .regex(/^\.?\.?\/?[^\0]+\.(ts|js|mjs)$/, 'expected the path of a module, such as ./handlers.ts');

const reply = {
  status: status.default(200),
  headers,
  json: z.json().optional(),
  body: z.string().max(MAX_TEXT).optional(),
  body_base64: z.base64().max(MAX_TEXT).optional(),
  /** Server-sent events: each after its delay. */
  events: z
    .array(
      z.strictObject({
        data: z.json(),
        event: z.string().max(256).optional(),
        id: z.string().max(256).optional(),
        delay_ms: milliseconds.default(0),
      }),
    )
    .max(10_000)
    .optional(),
  delay_ms: delay.default(0),
  /** Ends the connection instead of answering. */
  reset: z.boolean().default(false),
};
const oneBody = (value: { json?: unknown; body?: unknown; body_base64?: unknown; events?: unknown }) =>
  [value.json, value.body, value.body_base64, value.events].filter((one) => one !== undefined).length <= 1;
const oneBodyOnly = 'only one of json, body, body_base64 and events';

export const replySchema = z.strictObject(reply).refine(oneBody, oneBodyOnly);
export type Reply = z.output<typeof replySchema>;

export const routeSchema = z
  .strictObject({
    id: z.string().max(128).optional(),
    host: hosts.default(['*']),
    method: z
      .union([z.string().max(32), z.array(z.string().max(32)).min(1).max(16)])
      .default('*')
      .transform((value) => [value].flat().map((name) => name.toUpperCase())),
    path: plainPath.default('/*'),
    /** What else must be so; texts are compared with `*` as a wild card, bodies as a part of what was sent. */
    when: z
      .strictObject({
        query: z.record(z.string(), z.string()).optional(),
        headers: z.record(headerName, z.string()).optional(),
        body: z.json().optional(),
        agent: z.string().optional(),
      })
      .optional(),
    /** Whether this route is taken at all; else the next that matches is. */
    probability: probability.default(1),
    /** One reply per call, then the last again, or from the start. */
    sequence: z.array(replySchema).min(1).max(1000).optional(),
    repeat: z.enum(['last', 'cycle']).default('last'),
    sequence_per: z.enum(['world', 'agent']).default('world'),
    ...reply,
  })
  .refine(oneBody, oneBodyOnly);
export type RouteConfig = z.output<typeof routeSchema>;

/** Reply of a plain table from URL to response, as existing clients write it. */
const mock = z.union([
  z
    .string()
    .max(MAX_TEXT)
    .transform((body) => ({ status: 200, body, latency_ms: 0, headers: {} })),
  z.object({
    status: z.int().min(100).max(599).default(200),
    body: z.string().max(MAX_TEXT).default(''),
    latency_ms: milliseconds.default(0),
    headers: z.record(z.string(), z.string()).default({}),
  }),
]);

const port = z.int().min(1).max(65_535);
const tcpStep = z.union([
  z.strictObject({ send: z.string().max(65_536) }),
  z.strictObject({ send_base64: z.base64().max(65_536) }),
  z.strictObject({ delay_ms: milliseconds }),
  /** Waits for a line (or `bytes`) and stores nothing of it. */
  z.strictObject({ expect: z.string().max(1024) }),
  z.strictObject({ close: z.literal(true) }),
  z.strictObject({ reset: z.literal(true) }),
]);
export type TcpStep = z.output<typeof tcpStep>;

const tcpService = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('echo'), host: hosts.default(['*']), port }),
  /** Says something to whoever connects, then listens and is silent. */
  z.strictObject({
    kind: z.literal('banner'),
    host: hosts.default(['*']),
    port,
    banner: z.string().max(65_536),
  }),
  /** Steps in order; after the last the connection is closed. `replies`: line patterns and what is sent back. */
  z.strictObject({
    kind: z.literal('script'),
    host: hosts.default(['*']),
    port,
    steps: z.array(tcpStep).max(1000).default([]),
    replies: z
      .array(
        z.strictObject({
          match: z.string().max(1024),
          send: z.string().max(65_536),
          close: z.boolean().default(false),
        }),
      )
      .max(1000)
      .default([]),
  }),
]);
export type TcpServiceConfig = z.output<typeof tcpService>;

const webSocket = z.strictObject({
  host: hosts.default(['*']),
  path: plainPath.default('/*'),
  protocol: z.string().max(128).optional(),
  /** Sent when a client comes. */
  greet: z
    .array(z.union([z.string(), z.strictObject({ json: z.json() })]))
    .max(1000)
    .default([]),
  /** Sends back whatever comes, where no reply matches. */
  echo: z.boolean().default(false),
  replies: z
    .array(
      z.strictObject({
        match: z.string().max(1024).default('*'),
        send: z.union([z.string(), z.strictObject({ json: z.json() })]).optional(),
        close: z.boolean().default(false),
        delay_ms: milliseconds.default(0),
      }),
    )
    .max(1000)
    .default([]),
  /** Sent again and again, in the world's time. */
  every: z
    .strictObject({
      ms: z.number().min(1).max(86_400_000),
      send: z.string(),
      times: z.int().min(1).max(100_000).default(1),
    })
    .optional(),
});
export type WebSocketConfig = z.output<typeof webSocket>;

const address = z.union([z.ipv4(), z.ipv6()]);

const faultScope = {
  hosts: z.array(hostPattern).min(1).max(64).optional(),
  agents: z.array(z.string().min(1).max(128)).min(1).max(256).optional(),
};
export const faultSchema: z.ZodType<FaultSpec> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('partition'), hangMs: milliseconds.optional(), ...faultScope }),
  z.strictObject({
    kind: z.literal('latency'),
    ms: milliseconds,
    jitterMs: milliseconds.optional(),
    ...faultScope,
  }),
  z.strictObject({
    kind: z.literal('bandwidth'),
    bytesPerSecond: z.number().min(1).max(1e12),
    ...faultScope,
  }),
  z.strictObject({
    kind: z.literal('loss'),
    probability,
    retransmitMs: milliseconds.optional(),
    ...faultScope,
  }),
  z.strictObject({ kind: z.literal('reset'), probability: probability.optional(), ...faultScope }),
  z.strictObject({
    kind: z.literal('dns_failure'),
    rcode: z.enum(['SERVFAIL', 'NXDOMAIN', 'timeout']).optional(),
    probability: probability.optional(),
    ...faultScope,
  }),
  z.strictObject({ kind: z.literal('tls_expiry'), ...faultScope }),
  z.strictObject({
    kind: z.literal('error_rate'),
    probability: probability.optional(),
    status: z.int().min(400).max(599).optional(),
    body: z.string().max(65_536).optional(),
    ...faultScope,
  }),
]);

export const networkSchema = z.strictObject({
  /** mock: only the definition answers; record: also the hosts of `allow`, and what they answer is kept; replay: the cassette; passthrough: as record, without keeping. */
  mode: z.enum(['mock', 'record', 'replay', 'passthrough']).default('mock'),
  routes: z.array(routeSchema).max(MAX_ROUTES).default([]),
  /** Modules with msw handlers, their default export a list of them. */
  handlers: z.array(modulePath).max(64).default([]),
  /** URL (exact, or with `*` for anything) to response; exact ones come first. */
  mocks: z.record(z.string().max(8192), mock).default({}),
  /** For what nothing else answers; without one such requests are refused. */
  default_response: z.union([mock, z.null()]).optional(),
  /** Real hosts that record and passthrough may reach. */
  allow: z.array(hostPattern).max(256).default([]),
  /** What a recording kept, to be replayed. */
  cassette: z.array(z.unknown()).max(100_000).default([]),
  /** The same in a file beside the definition. */
  cassette_file: z.string().max(1024).optional(),
  dns: z
    .strictObject({
      /** Names with fixed addresses; names of routes and services get one of their own. */
      records: z
        .record(
          hostPattern,
          z.union([address, z.array(address).min(1).max(16)]).transform((value) => [value].flat()),
        )
        .default({}),
      /** Names that do not exist, whatever else is declared. */
      missing: z.array(hostPattern).max(1000).default([]),
      /** What becomes of a name that nothing declares: it does not exist, or it gets an address where nothing answers. */
      unknown: z.enum(['nxdomain', 'answer']).default('nxdomain'),
      ttl_s: z.int().min(0).max(86_400).default(60),
    })
    .prefault({}),
  tcp: z.array(tcpService).max(256).default([]),
  websockets: z.array(webSocket).max(256).default([]),
  /** In force from the start. */
  faults: z.array(faultSchema).max(256).default([]),
  limits: z
    .strictObject({
      request_bytes: z
        .int()
        .min(0)
        .max(2 ** 30)
        .default(16 * 2 ** 20),
      response_bytes: z
        .int()
        .min(0)
        .max(2 ** 30)
        .default(64 * 2 ** 20),
      log_entries: z.int().min(0).max(1_000_000).default(10_000),
      /** Of each body that the log keeps. */
      log_body_bytes: z
        .int()
        .min(0)
        .max(16 * 2 ** 20)
        .default(16_384),
      connections_per_agent: z.int().min(1).max(10_000).default(256),
    })
    .prefault({}),
});
export type NetworkConfig = z.output<typeof networkSchema>;
export type NetworkInput = z.input<typeof networkSchema>;

/** A service by its name: where it is reached, and its code or ready-made kind. */
const service = z
  .strictObject({
    host: hosts,
    /** Its own state, in place of what the module starts with. */
    state: z.json().optional(),
    /** A module that exports defineService(…) as its default. */
    module: modulePath.optional(),
    /** Only in definitions written in TypeScript. */
    service: z
      .custom<ServiceDefinition>((value) => isServiceDefinition(value), 'expected defineService(…)')
      .optional(),
    /** Collections of JSON objects with create, read, list, change and delete: `/users`, `/users/:id`. */
    collections: z
      .record(z.string().regex(/^[a-z0-9_-]{1,64}$/i), z.array(z.record(z.string(), z.json())).max(10_000))
      .optional(),
    delay_ms: delay.default(0),
  })
  .refine(
    ({ module, service, collections }) =>
      [module, service, collections].filter((one) => one !== undefined).length === 1,
    'expected one of module, service and collections',
  );
export const servicesSchema = z.record(z.string().regex(/^[a-z0-9_-]{1,64}$/i, 'expected a name'), service);
export type ServicesConfig = z.output<typeof servicesSchema>;
