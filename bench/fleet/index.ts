/** What the files of scenarios with fleets stand on. */

export { isWalled, lookAt, lookText, namespaceOf, type ProcessLook, treeOf } from './look.ts';
export { type Percentiles, percentiles } from './percentiles.ts';
export type * from './record.ts';
export { historyOf } from './timeline.ts';
export type * from './types.ts';
