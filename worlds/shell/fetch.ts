import type { BashOptions } from 'just-bash';
import type { WorldHttpRequest, WorldHttpResponse } from '../../kernel/worlds/host.ts';

const TIMEOUT_MS = 30_000;
const MAX_BYTES = 8 * 2 ** 20;

/** Requests of curl in a world's shell, made as those of a member are. */
export function shellFetch(
  http: (request: WorldHttpRequest) => Promise<WorldHttpResponse>,
): NonNullable<BashOptions['fetch']> {
  return async (url, options) => {
    const body = options?.body;
    const answer = await http({
      url,
      method: options?.method ?? 'GET',
      headers: Object.fromEntries(new Headers(options?.headers)),
      body: body === undefined ? null : Buffer.from(body),
      timeoutMs: options?.timeoutMs ?? TIMEOUT_MS,
      redirect: options?.followRedirects === false ? 'manual' : 'follow',
      maxBytes: MAX_BYTES,
      signal: options?.signal ?? new AbortController().signal,
    });
    return {
      status: answer.status,
      statusText: '',
      headers: { ...answer.headers },
      body: new Uint8Array(answer.body),
      url: answer.url,
    };
  };
}
