import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { accept } from '../async/accept.ts';
import { openForCaller } from '../files/open.ts';
import { type HttpRequest, MAX_BODY_BYTES, MAX_REDIRECTS } from '../http/client.ts';
import { saveBody } from '../http/download.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { defineSyscall } from './define.ts';
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
      success: z.literal(true),
      status_code: z.int(),
      headers: z.record(z.string(), z.string()).describe('Names in lower case; several values with a comma.'),
      set_cookies: z.array(z.string()).optional().describe('One by one.'),
      body: z.string().describe('gzip, deflate, br and zstd are undone.'),
      encoding: z.literal('base64').optional().describe('Present when the body is not UTF-8 text.'),
      ...received,
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
    error: z.string().optional(),
    code: z.string().optional(),
  }),
  permission: 'http',
  audit: 'NETWORK',
  replay: 'recorded',
  ordered: true,
  errorShape: { bytes: 0, sha256: '', status_code: 0 },
  async handle(request, { kernel, caller, signal }) {
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
