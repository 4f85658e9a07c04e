import type { Attachment } from '../kernel/agents/attachment.ts';
import { createMountedClock } from './clock/mounted.ts';
import type { ClockConfig } from './clock/schema.ts';
import type { ClockState, WorldClock } from './clock/types.ts';
import { createVirtualClock } from './clock/virtual.ts';

/** The clock of a world and what its processes get of it. */
export interface WorldProcessesClock {
  readonly clock: WorldClock;
  attachments(worldId: string, agent: { readonly id: number; readonly name: string }): readonly Attachment[];
  close(): void;
}

/** @throws SETUP_FAILED, BAD_REQUEST (a mode that processes cannot have) */
export async function openMountedClock(
  config: ClockConfig,
  restored?: ClockState,
  seed = 0,
): Promise<WorldProcessesClock> {
  // The host's own time needs nothing to be loaded into anybody.
  if (config.mode === 'real' && config.start === null && restored === undefined) {
    const clock = createVirtualClock(config);
    return { clock, attachments: () => [], close: () => clock.close() };
  }
  const mounted = createMountedClock(config, { seed, ...(restored === undefined ? {} : { restored }) });
  return {
    clock: mounted.clock,
    attachments: (worldId, { id: agentId, name }) => [
      {
        worldId,
        async prepare() {
          // Of the last incarnation.
          mounted.release(agentId);
          const { mounts, env } = mounted.attachment(agentId, { name });
          return {
            mounts,
            env,
            world: null,
            launched: (sandbox) => {
              if (sandbox === null) mounted.release(agentId);
              else mounted.admit(agentId, sandbox.pid, [sandbox.initPid]);
            },
          };
        },
        detach: async () => mounted.release(agentId),
      },
    ],
    close: () => mounted.close(),
  };
}
