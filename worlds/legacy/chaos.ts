import type { ChaosConfig } from '../chaos/schema.ts';

/** What goes wrong by chance, in the words of existing clients. */
export interface LegacyChaos {
  readonly failure_rate: number;
  readonly latency: { readonly min_ms: number; readonly max_ms: number };
  readonly rules: readonly {
    readonly type: string;
    readonly pattern: string;
    readonly probability: number;
  }[];
}

/** Of the rules of a world, those that existing clients have words for: the way back from what `chaosOf` made of theirs. */
export function legacyChaosOf({ enabled, rules }: ChaosConfig): LegacyChaos {
  let failureRate = 0;
  let latency = { min_ms: 0, max_ms: 0 };
  const told: { type: string; pattern: string; probability: number }[] = [];
  for (const { event, params } of enabled ? rules : []) {
    const probability = numberOf(params.probability, 1);
    if (event === 'latency_spike') {
      const ms = numberOf(params.ms, 0);
      const jitterMs = numberOf(params.jitter_ms, 0);
      latency = { min_ms: Math.max(0, ms - jitterMs), max_ms: ms + jitterMs };
    } else if (event === 'disk_fail' && (params.operation === 'read' || params.operation === 'write')) {
      const type = params.operation === 'read' ? 'file_read_fail' : 'file_write_fail';
      told.push({ type, pattern: textOf(params.path), probability });
    } else if (event === 'http_failure' && typeof params.url === 'string') {
      told.push({ type: 'network_fail', pattern: textOf(params.url), probability });
    } else if (event === 'disk_fail' || event === 'http_failure') {
      failureRate = Math.max(failureRate, probability);
    }
  }
  return { failure_rate: failureRate, latency, rules: told };
}

function numberOf(value: unknown, fallback: number): number {
  return typeof value === 'number' ? value : fallback;
}

function textOf(pattern: unknown): string {
  return typeof pattern === 'string' ? pattern : '*';
}
