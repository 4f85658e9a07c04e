/** What the files of scenarios with fleets stand on. */

export { isWalled, lookAt, lookText, type ProcessLook } from './look.ts';
export { type Percentiles, percentiles } from './percentiles.ts';
export type * from './record.ts';
export { historyOf } from './timeline.ts';
export type * from './types.ts';
