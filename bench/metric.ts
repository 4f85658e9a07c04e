import type { MetricTree } from './types.ts';

/** Figure at a dotted path such as "test.aucRoc"; null where absent or not finite. Only own properties count. */
export function metricAt(tree: MetricTree | null, path: string): number | null {
  let node: number | null | MetricTree | undefined = tree;
  for (const step of path.split('.')) {
    if (typeof node !== 'object' || node === null || !Object.hasOwn(node, step)) return null;
    node = node[step];
  }
  return typeof node === 'number' && Number.isFinite(node) ? node : null;
}
