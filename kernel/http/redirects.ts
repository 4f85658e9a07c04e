import { failed } from './exchange.ts';
import { type Headers, headersForOtherOrigin, withoutBodyHeaders } from './headers.ts';
import { parseTarget } from './target.ts';

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** One request, as it goes to one server. */
export interface Hop {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  readonly body: Buffer | null;
}

/** Where a response sends its reader, by the rules of the Fetch standard; null when it does not. @throws IO, FORBIDDEN */
export function nextHop(hop: Hop, status: number, location: string | undefined): Hop | null {
  if (!REDIRECTS.has(status) || location === undefined || location === '') return null;
  if (!URL.canParse(location, hop.url.href)) throw failed('the server redirects to what is no URL');
  const url = parseTarget(location, hop.url);
  const toGet =
    (status === 303 && hop.method !== 'GET' && hop.method !== 'HEAD') ||
    ((status === 301 || status === 302) && hop.method === 'POST');
  let headers = hop.headers;
  if (url.origin !== hop.url.origin) headers = headersForOtherOrigin(headers);
  if (toGet) headers = withoutBodyHeaders(headers);
  return { url, method: toGet ? 'GET' : hop.method, headers, body: toGet ? null : hop.body };
}
