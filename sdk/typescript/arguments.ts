import type { CallOptions, Target, WaitOptions } from './types.ts';

export function toTarget(target: Target): { id: number } | { name: string } {
  return typeof target === 'number' ? { id: target } : { name: target };
}

/** The kernel keeps the time: the end of a wait is an answer, not an error. */
export function waitFields(options: WaitOptions): { wait?: boolean; timeout_ms?: number } {
  if (options.wait !== true) return {};
  const { timeoutMs } = options;
  return timeoutMs === undefined || timeoutMs === null
    ? { wait: true }
    : { wait: true, timeout_ms: Math.max(0, Math.ceil(timeoutMs)) };
}

export function callOptions({ wait, timeoutMs, signal }: WaitOptions): CallOptions {
  return wait === true || timeoutMs === undefined ? { signal } : { signal, timeoutMs };
}
