/** What the files of scenarios with fleets stand on. */

export type { Artifact, ArtifactFile, ArtifactLimits } from './artifacts.ts';
export { type Canary, canaryFinder, newCanary } from './canary.ts';
export type { Finding, Judgement, JudgeRequest, Verdict } from './judge.ts';
export { isWalled, lookAt, lookText, namespaceOf, type ProcessLook, treeOf } from './look.ts';
export { isModelDriven, MODEL_SETTINGS, modelOf } from './model.ts';
export { type Percentiles, percentiles } from './percentiles.ts';
export type * from './record.ts';
export { leastRole, type Rights } from './role.ts';
export { said } from './said.ts';
export { serviceMemory } from './service-memory.ts';
export { historyOf } from './timeline.ts';
export type * from './types.ts';
