import { CloveError } from '../../errors/index.ts';
import { KERNEL_VERSION } from '../protocol/version.ts';
import { nodeHttp } from './builtin.ts';

export type Headers = Readonly<Record<string, string>>;

/** All of a request together. */
const MAX_HEADER_BYTES = 32 * 1024;
const MAX_HEADERS = 128;

/** They are about the connection, which is the kernel's; leaving them out changes nothing for the caller. */
const OF_THE_CONNECTION = new Set(['connection', 'keep-alive', 'proxy-connection', 'te']);
/** They change how the request is framed, or ask for another protocol. */
const REFUSED = new Set([
  'transfer-encoding',
  'upgrade',
  'expect',
  'trailer',
  'proxy-authorization',
  'http2-settings',
]);
/** Nothing secret in them, and nothing that only the first server should get. */
const SAFE_ELSEWHERE = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'content-type',
  'user-agent',
]);

/**
 * The caller's headers, names in lower case, with the kernel's defaults. `host` and `content-length` are checked and left
 * out: each hop has its own. @throws BAD_REQUEST
 */
export function prepareHeaders(given: Headers, url: URL, bodyBytes: number): Record<string, string> {
  const entries = Object.entries(given);
  if (entries.length > MAX_HEADERS) throw bad(`more than ${MAX_HEADERS} headers`);
  const headers: Record<string, string> = Object.create(null);
  let bytes = 0;
  for (const [rawName, value] of entries) {
    const name = rawName.toLowerCase();
    assertValid(rawName, value);
    bytes += name.length + value.length + 4;
    if (Object.hasOwn(headers, name)) throw bad(`header ${name} is given twice`);
    if (REFUSED.has(name)) throw bad(`header ${name} cannot be set`);
    if (name === 'host' && value.toLowerCase() !== url.host)
      throw bad('header host is not the host of the URL');
    if (name === 'content-length' && value !== String(bodyBytes))
      throw bad('header content-length is not that of the body');
    if (name === 'host' || name === 'content-length' || OF_THE_CONNECTION.has(name)) continue;
    headers[name] = value;
  }
  if (bytes > MAX_HEADER_BYTES) throw bad(`headers are larger than ${MAX_HEADER_BYTES} bytes`);
  headers.accept ??= '*/*';
  headers['accept-encoding'] ??= 'gzip, deflate, br, zstd';
  headers['user-agent'] ??= `clove/${KERNEL_VERSION}`;
  return headers;
}

function assertValid(name: string, value: string): void {
  try {
    nodeHttp().validateHeaderName(name);
    nodeHttp().validateHeaderValue(name, value);
  } catch {
    throw bad(`header ${JSON.stringify(name.slice(0, 64))} is not valid`);
  }
}

function bad(what: string): CloveError {
  return new CloveError('BAD_REQUEST', `invalid request: ${what}`);
}

/** What may go along to another origin. Not only known credentials stay behind: any header may be one. */
export function headersForOtherOrigin(headers: Headers): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => SAFE_ELSEWHERE.has(name)));
}

export function withoutBodyHeaders(headers: Headers): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith('content-')));
}

export interface ReceivedHeaders {
  /** One value per name; several are joined with a comma, as they may be everywhere but in set-cookie. */
  readonly headers: Record<string, string>;
  readonly setCookies: readonly string[];
}

/** `raw` as Node gives it: name, value, name, value … */
export function receivedHeaders(raw: readonly string[]): ReceivedHeaders {
  const headers: Record<string, string> = Object.create(null);
  const setCookies: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = (raw[index] as string).toLowerCase();
    const value = raw[index + 1] as string;
    if (name === 'set-cookie') setCookies.push(value);
    headers[name] = Object.hasOwn(headers, name) ? `${headers[name]}, ${value}` : value;
  }
  return { headers, setCookies };
}
