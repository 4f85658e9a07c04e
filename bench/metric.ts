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

/** Every figure with its dotted path, in the order in which they were reported. */
export function metricPaths(tree: MetricTree | null): (readonly [string, number])[] {
  return Object.entries(tree ?? {}).flatMap(([name, value]): (readonly [string, number])[] => {
    if (typeof value === 'number') return Number.isFinite(value) ? [[name, value]] : [];
    return metricPaths(value).map(([path, figure]) => [`${name}.${path}`, figure] as const);
  });
}
