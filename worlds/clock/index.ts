export { controlGroupOf } from './control-group.ts';
export { durationSchema, parseDurationMs } from './duration.ts';
export {
  type AttachOptions,
  type ClockAttachment,
  createMountedClock,
  type MountedClock,
  type MountedClockOptions,
} from './mounted.ts';
export { type ClockConfig, type ClockInput, clockSchema } from './schema.ts';
export type {
  ClockDegradation,
  ClockJump,
  ClockMode,
  ClockProgram,
  ClockState,
  ClockStatus,
  LlmTimePrice,
  WorldClock,
  WorldTimer,
} from './types.ts';
export { createVirtualClock } from './virtual.ts';
