/** Requests and responses as a world's network hands them on. */

/** Without its signal, which costs more than all the rest: whoever waits for the answer watches it. */
export function copyOf(request: Request, body: Uint8Array<ArrayBuffer>): Request {
  const withBody = request.method !== 'GET' && request.method !== 'HEAD' && body.length > 0;
  return new Request(request.url, {
    method: request.method,
    headers: request.headers,
    ...(withBody ? { body } : {}),
  });
}

export const hasNoBody = (status: number) => status === 204 || status === 205 || status === 304;

export const isEventStream = (response: Response) =>
  response.headers.get('content-type')?.startsWith('text/event-stream') === true;

export function plainResponse(mock: {
  status: number;
  body: string;
  headers: Record<string, string>;
}): Response {
  const status = mock.status < 200 ? 200 : mock.status;
  const headers = new Headers(mock.headers);
  if (!headers.has('content-type')) headers.set('content-type', 'text/plain; charset=utf-8');
  return new Response(hasNoBody(status) ? null : mock.body, { status, headers });
}
