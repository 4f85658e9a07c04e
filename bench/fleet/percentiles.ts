import { quantile } from 'simple-statistics';

export interface Percentiles {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** null without a single value. */
export function percentiles(values: readonly number[]): Percentiles | null {
  if (values.length === 0) return null;
  const at = (share: number) => quantile([...values], share);
  return { count: values.length, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}
