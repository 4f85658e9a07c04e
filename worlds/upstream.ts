import { CloveError } from '../errors/index.ts';
import type { Caller } from '../kernel/identity.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Upstream } from './network/virtual.ts';

const TIMEOUT_MS = 30_000;
const MAX_BYTES = 8 * 2 ** 20;
/** Of the connection, not of the message; the kernel's client sets its own. */
const OF_CONNECTION = new Set([
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'upgrade',
  'keep-alive',
  'te',
]);
const UNDONE = new Set(['content-encoding', 'content-length', 'transfer-encoding', 'connection']);

/**
 * The way out of a world, for hosts its definition allows: the kernel's own client, in the member's name. So its grants hold as
 * they do without a world, and what it may not reach it does not reach through one.
 */
export function upstreamOf(kernel: () => Kernel, callerOf: (memberId: number) => Caller | null): Upstream {
  return async (request, { agentId }) => {
    const caller = callerOf(agentId);
    if (caller === null) throw new CloveError('FORBIDDEN', 'only members of a world leave it');
    const body = request.body === null ? null : Buffer.from(await request.arrayBuffer());
    const headers = Object.fromEntries([...request.headers].filter(([name]) => !OF_CONNECTION.has(name)));
    const { http } = kernel();
    const wanted = {
      url: request.url,
      method: request.method,
      headers,
      body,
      redirect: 'manual' as const,
      timeoutMs: TIMEOUT_MS,
      maxBytes: MAX_BYTES,
    };
    const hop = http.prepare(caller, wanted);
    const answer = await http.slots.use(caller.id, () => http.request(caller, wanted, hop, request.signal));
    const response = new Headers(Object.entries(answer.headers).filter(([name]) => !UNDONE.has(name)));
    for (const cookie of answer.setCookies) response.append('set-cookie', cookie);
    const bytes = Buffer.from(answer.body, answer.encoding ?? 'utf8');
    const hasNoBody = [204, 205, 304].includes(answer.status);
    return new Response(hasNoBody ? null : new Uint8Array(bytes), {
      status: answer.status,
      headers: response,
    });
  };
}
