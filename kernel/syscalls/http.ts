import { createHash } from 'node:crypto';
import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { accept } from '../async/accept.ts';
import { contentFields } from '../files/fd.ts';
import { openForCaller } from '../files/open.ts';
import { type HttpRequest, MAX_BODY_BYTES, MAX_REDIRECTS } from '../http/client.ts';
import { saveBody } from '../http/download.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { absolutePath, inWorld, memberOf, worldOf } from '../worlds/calls.ts';
import type { JoinedWorld, WorldHttpResponse } from '../worlds/host.ts';
import { defineSyscall, type SyscallContext } from './define.ts';
import { accepted, asynchronous } from './fields.ts';

const DEFAULT_TIMEOUT_S = 30;
const MAX_TIMEOUT_S = 3600;
const DEFAULT_DOWNLOAD_BYTES = 64 * 2 ** 20;
const MAX_DOWNLOAD_BYTES = 16 * 2 ** 30;

const CALL = { opcode: OPCODES.HTTP, name: 'HTTP' };

const target = {
  url: z.string().max(16_384).nullish().describe('http or https, without credentials.'),
  headers: z
    .record(z.string(), z.string())
    .nullish()
    .describe(
      '`host` and `content-length` only as they are anyway; those of the connection are the kernel’s.',
    ),
  timeout: z
    .number()
    .positive()
    .max(MAX_TIMEOUT_S)
    .nullish()
    .describe('Seconds for all of it, from the name to the last byte; default 30.'),
};

const received = {
  url: z.string().describe('Of the last response.'),
  redirects: z.int(),
  duration_ms: z.number(),
};

export const http = defineSyscall({
  opcode: OPCODES.HTTP,
  name: 'HTTP',
  summary: `One HTTP request. Names are resolved once, private addresses refused unless granted, and up to ${MAX_REDIRECTS} redirects judged like the first request. Any response is a success.`,
  request: z.object({
    ...target,
    method: z.string().max(32).nullish().describe('Default GET. No CONNECT, TRACE or TRACK.'),
    body: z.string().nullish().describe('Not sent with GET and HEAD.'),
    body_encoding: z.enum(['utf8', 'base64']).default('utf8').describe('Of `body`.'),
    redirect: z
      .enum(['follow', 'manual'])
      .default('follow')
      .describe(
        '"manual": a redirect is answered as it is. To another origin only harmless headers go along.',
      ),
    max_bytes: z
      .int()
      .min(0)
      .max(MAX_BODY_BYTES)
      .default(MAX_BODY_BYTES)
      .describe('Most of the response’s body, decoded; a larger one is an error.'),
    ...asynchronous,
  }),
  response: z.union([
    z.object({
      success: z
        .boolean()
        .describe('False only where a world answered, with a status other than 2xx or 3xx.'),
      status_code: z.int(),
      headers: z.record(z.string(), z.string()).describe('Names in lower case; several values with a comma.'),
      set_cookies: z.array(z.string()).optional().describe('One by one.'),
      body: z.string().describe('gzip, deflate, br and zstd are undone.'),
      encoding: z.literal('base64').optional().describe('Present when the body is not UTF-8 text.'),
      ...received,
      world: z.string().optional().describe('The world that answered.'),
      mocked: z.literal(true).optional(),
    }),
    accepted,
  ]),
  permission: 'http',
  audit: 'NETWORK',
  replay: 'recorded',
  errorShape: { body: '', status_code: 0, headers: {} },
  async handle(request, context) {
    const { kernel, caller, signal } = context;
    const wanted: HttpRequest = {
      ...toTarget(request),
      method: request.method || 'GET',
      body: decodeBody(request.body ?? '', request.body_encoding),
      redirect: request.redirect,
      maxBytes: request.max_bytes,
    };
    const world = worldFor(context, wanted.url);
    if (world !== null) {
      const meet = (until: AbortSignal) => answerInWorld(context, world, wanted, until);
      if (request.async === true) {
        return accept(
          context,
          CALL,
          request.request_id,
          (until) => kernel.http.background.use(caller.id, () => meet(until)),
          { isTimedByWorld: true },
        );
      }
      return kernel.http.slots.use(caller.id, () => meet(signal));
    }
    const hop = kernel.http.prepare(caller, wanted);
    const run = async (until: AbortSignal) => {
      const { status, setCookies, ...answer } = await kernel.http.request(caller, wanted, hop, until);
      return {
        success: true as const,
        status_code: status,
        headers: answer.headers,
        ...(setCookies.length === 0 ? {} : { set_cookies: [...setCookies] }),
        body: answer.body,
        encoding: answer.encoding,
        url: answer.url,
        redirects: answer.redirects,
        duration_ms: answer.durationMs,
      };
    };
    if (request.async === true) {
      return accept(context, CALL, request.request_id, (until) =>
        kernel.http.background.use(caller.id, () => run(until)),
      );
    }
    return kernel.http.slots.use(caller.id, () => run(signal));
  },
});

/** The world that answers requests to this URL; null = whoever is at it. */
function worldFor(context: SyscallContext, url: string): JoinedWorld | null {
  const world = worldOf(context);
  return world?.interceptsUrl(url) === true ? world : null;
}

async function fetchInWorld(
  context: SyscallContext,
  world: JoinedWorld,
  wanted: HttpRequest,
  signal: AbortSignal,
): Promise<WorldHttpResponse> {
  try {
    return await world.http(memberOf(context), { ...wanted, signal });
  } catch (error) {
    const isFault = error instanceof CloveError && error.details?.fault !== undefined;
    throw inWorld(error, world, isFault ? { status_code: 503 } : {});
  }
}

async function answerInWorld(
  context: SyscallContext,
  world: JoinedWorld,
  wanted: HttpRequest,
  signal: AbortSignal,
) {
  const answer = await fetchInWorld(context, world, wanted, signal);
  const { content, encoding } = contentFields(answer.body);
  return {
    success: answer.status >= 200 && answer.status < 400,
    status_code: answer.status,
    headers: { ...answer.headers },
    ...(answer.setCookies.length === 0 ? {} : { set_cookies: [...answer.setCookies] }),
    body: content,
    ...(encoding === undefined ? {} : { encoding }),
    url: answer.url,
    redirects: answer.redirects,
    duration_ms: answer.durationMs,
    world: world.id,
    mocked: true as const,
  };
}

/** What a world's server answers, into a file of that world. */
async function downloadInWorld(
  context: SyscallContext,
  world: JoinedWorld,
  wanted: HttpRequest,
  file: { readonly path: string; readonly sha256: string | null },
) {
  const answer = await fetchInWorld(context, world, wanted, context.signal);
  const isThere = answer.status >= 200 && answer.status < 300;
  const sha256 = isThere ? createHash('sha256').update(answer.body).digest('hex') : '';
  if (isThere && file.sha256 !== null && sha256 !== file.sha256) {
    throw inWorld(new CloveError('DATA_CORRUPT', 'the file does not have the SHA-256 it must have'), world);
  }
  if (isThere) {
    try {
      await world.write(memberOf(context), absolutePath(context, file.path), answer.body, false);
    } catch (error) {
      throw inWorld(error, world);
    }
  }
  return {
    success: isThere,
    path: file.path,
    bytes: isThere ? answer.body.length : 0,
    sha256,
    status_code: answer.status,
    url: answer.url,
    redirects: answer.redirects,
    duration_ms: answer.durationMs,
    world: world.id,
    mocked: true as const,
    ...(isThere ? {} : { error: `the server answered ${answer.status}`, code: 'IO' }),
  };
}

export const download = defineSyscall({
  opcode: OPCODES.DOWNLOAD,
  name: 'DOWNLOAD',
  summary:
    'Streams what HTTP GET gives into a file: an agent’s inside its sandbox, an operator’s on the host. Whatever fails on the way leaves the file empty.',
  request: z.object({
    ...target,
    path: z.string().max(4096).nullish().describe('As for WRITE.'),
    sha256: z
      .string()
      .regex(/^[0-9A-Fa-f]{64}$/, 'not 64 hex digits')
      .nullish()
      .describe('What the file must have; else it is emptied, and DATA_CORRUPT.'),
    max_bytes: z
      .int()
      .min(0)
      .max(MAX_DOWNLOAD_BYTES)
      .default(DEFAULT_DOWNLOAD_BYTES)
      .describe('Largest file, decoded.'),
  }),
  response: z.object({
    success: z.boolean().describe('False when the status is not 2xx: the file is then not touched.'),
    path: z.string(),
    bytes: z.int(),
    sha256: z.string().describe('Of the file, lower-case hex; empty when nothing was written.'),
    status_code: z.int(),
    ...received,
    world: z.string().optional(),
    mocked: z.literal(true).optional(),
    error: z.string().optional(),
    code: z.string().optional(),
  }),
  permission: 'http',
  audit: 'NETWORK',
  replay: 'recorded',
  ordered: true,
  errorShape: { bytes: 0, sha256: '', status_code: 0 },
  async handle(request, context) {
    const { kernel, caller, signal } = context;
    const startedAt = performance.now();
    const { path } = request;
    if (path === null || path === undefined || path === '') {
      throw new CloveError('BAD_REQUEST', 'path required');
    }
    const wanted: HttpRequest = {
      ...toTarget(request),
      method: 'GET',
      body: null,
      redirect: 'follow',
      maxBytes: request.max_bytes,
    };
    const world = worldFor(context, wanted.url);
    if (world?.interceptsPath(absolutePath(context, path)) === true) {
      const file = { path, sha256: request.sha256?.toLowerCase() ?? null };
      return kernel.http.slots.use(caller.id, () => downloadInWorld(context, world, wanted, file));
    }
    const hop = kernel.http.prepare(caller, wanted);
    return kernel.http.slots.use(caller.id, () =>
      kernel.http.open(caller, wanted, hop, signal, async (last) => {
        const status = last.response.statusCode ?? 0;
        const isThere = status >= 200 && status < 300;
        const saved = isThere
          ? await saveBody(last, request.max_bytes, request.sha256?.toLowerCase() ?? null, () =>
              openForCaller(kernel, caller, path, 'write'),
            )
          : { bytes: 0, sha256: '' };
        const counters = kernel.agents.get(caller.id)?.counters;
        if (counters !== undefined) counters.bytesWritten += saved.bytes;
        return {
          success: isThere,
          path,
          ...saved,
          status_code: status,
          url: last.url.href,
          redirects: last.redirects,
          duration_ms: performance.now() - startedAt,
          ...(isThere ? {} : { error: `the server answered ${status}`, code: 'IO' }),
        };
      }),
    );
  },
});

function toTarget(request: {
  url?: string | null | undefined;
  headers?: Record<string, string> | null | undefined;
  timeout?: number | null | undefined;
}): Pick<HttpRequest, 'url' | 'headers' | 'timeoutMs'> {
  if (!request.url) throw new CloveError('BAD_REQUEST', 'URL required');
  const timeoutMs = Math.ceil((request.timeout ?? DEFAULT_TIMEOUT_S) * 1000);
  return { url: request.url, headers: request.headers ?? {}, timeoutMs };
}

function decodeBody(body: string, encoding: 'utf8' | 'base64'): Buffer | null {
  if (body === '') return null;
  const bytes = Buffer.from(body, encoding);
  if (encoding === 'base64' ? bytes.toString('base64') !== body : !body.isWellFormed()) {
    throw new CloveError('BAD_REQUEST', `invalid request: body is not ${encoding}`);
  }
  return bytes;
}

export const httpSyscalls = [http, download] as const;
