import type { Attachment } from '../../kernel/agents/attachment.ts';
import type { MountedClock } from './mounted.ts';

let lastAgent = 0;

/**
 * The clock's part of what a world adds to one agent (or one command): its files, its library, and that nothing is skipped
 * while the agent is being started or at work. One attachment per agent; every incarnation is admitted anew.
 */
export function clockAttachment(worldId: string, world: MountedClock): Attachment {
  // Not the kernel's number of the agent: commands in a world have none of their own.
  lastAgent += 1;
  const member = lastAgent;
  return {
    worldId,
    async prepare() {
      const { mounts, env } = world.attachment(member);
      return {
        mounts,
        env,
        world: null,
        launched: (sandbox) => {
          if (sandbox === null) {
            world.release(member);
            return;
          }
          world.admit(member, sandbox.pid, [sandbox.initPid]);
          // Who is gone holds up nobody; the next incarnation is attached again.
          void sandbox.exited.then(() => world.release(member));
        },
      };
    },
    async detach() {
      world.release(member);
    },
  };
}
