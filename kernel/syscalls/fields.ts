import { z } from 'zod';

/** Largest delay a timer takes; a longer one would end at once. About 24 days. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** An agent id or a client's connection id; 0 = none given. */
export const callerId = z
  .int()
  .min(0)
  .max(2 ** 32 - 1);

/** Any JSON value. */
export const json = z.unknown();

/** Fields of a request that may wait for something to come. */
export const waiting = {
  wait: z
    .boolean()
    .optional()
    .describe(
      'Wait until there is something: until `timeout_ms` is over, or without limit where it is absent.',
    ),
  timeout_ms: z
    .int()
    .min(0)
    .max(MAX_TIMER_MS)
    .optional()
    .describe('How long to wait. Given alone it implies `wait`.'),
};

/** How long to wait: 0 = not at all, null = without limit. */
export function waitMsOf(request: {
  readonly wait?: boolean | undefined;
  readonly timeout_ms?: number | undefined;
}): number | null {
  if (request.wait === false) return 0;
  if (request.timeout_ms !== undefined) return request.timeout_ms;
  return request.wait === true ? null : 0;
}

/** Chosen by the client so that it finds its answer; 0 or none = by the kernel. */
export const requestId = z.int().min(0).max(Number.MAX_SAFE_INTEGER).nullish();

/** Fields of a request that may be answered later. */
export const asynchronous = {
  async: z
    .boolean()
    .nullish()
    .describe(
      'Answer at once with `async: true`, `request_id` and `status: "accepted"`, and later by ASYNC_POLL. Default: answer when it is done.',
    ),
  request_id: requestId.describe(
    'With `async`: what the answer goes by, not one that is in use; 0 or none = chosen by the kernel.',
  ),
};

/** The answer to such a request. */
export const accepted = z.object({
  success: z.literal(true),
  async: z.literal(true),
  request_id: z.int(),
  status: z.literal('accepted'),
});
