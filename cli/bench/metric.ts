import type { MetricTree } from '../../bench/types.ts';

/** The figure at a dotted path such as "test.aucRoc"; null where there is none. */
export function metricAt(metrics: MetricTree | null, path: string): number | null {
  let node: MetricTree | number | null | undefined = metrics;
  for (const name of path.split('.')) {
    if (typeof node !== 'object' || node === null || !Object.hasOwn(node, name)) return null;
    node = node[name];
  }
  return typeof node === 'number' ? node : null;
}
