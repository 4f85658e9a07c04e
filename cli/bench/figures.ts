import { namedParameter } from '../../bench/index.ts';
import type { Presentation, TrialOutcome } from '../../bench/types.ts';
import { formatMetric } from '../../reports/text/format.ts';

/** A figure as the report writes it. */
export function figureText(value: number | null, path: string, { metrics }: Presentation): string {
  return formatMetric(value, metrics.find((metric) => metric.path === path)?.format ?? '.3f');
}

/** "AMES maccs svm", "inFlight 8 seed 42". */
export function parametersLine(params: TrialOutcome['params']): string {
  return Object.entries(params)
    .map(([name, value]) => namedParameter(name, value))
    .join(' ');
}
