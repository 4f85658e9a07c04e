import type { ParameterValue } from './types.ts';

/** A word says itself what it is; a number, or yes and no, says nothing without its name: "seed 42". */
export function namedParameter(name: string, value: ParameterValue): string {
  return typeof value === 'string' && !/^[\d.]+$/.test(value) ? value : `${name} ${value}`;
}
