import type { LayerReport } from './types.ts';

/** Whether a layer was asked for and could not be had, or not as it should be. */
export function isMissing({ requested, state }: Pick<LayerReport, 'requested' | 'state'>): boolean {
  return requested && (state === 'off' || state === 'degraded');
}
