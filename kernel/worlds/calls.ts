import { CloveError } from '../../errors/index.ts';
import type { SyscallContext } from '../syscalls/define.ts';
import type { JoinedWorld, Member, WorldHost } from './host.ts';

/** @throws SETUP_FAILED */
export function worldsOf({ kernel }: SyscallContext): WorldHost {
  if (kernel.worlds !== null) return kernel.worlds;
  throw new CloveError('SETUP_FAILED', 'this kernel has no worlds', {
    hint: 'Start it with `clove kernel start`.',
  });
}

/** The world the caller is in; its calls are counted there. */
export function worldOf({ kernel, caller }: SyscallContext): JoinedWorld | null {
  const world = kernel.worlds?.joinedBy(caller.id) ?? null;
  world?.countCall();
  return world;
}

export function memberOf({ kernel, caller }: SyscallContext): Member {
  return { id: caller.id, name: kernel.agents.get(caller.id)?.name ?? kernel.mailboxes.nameOf(caller.id) };
}

/** A path of the caller, from the root. */
export function absolutePath({ kernel, caller }: SyscallContext, path: string): string {
  if (path.startsWith('/')) return path;
  const cwd = caller.kind === 'agent' ? kernel.agents.get(caller.id)?.plan.sandbox.cwd : null;
  return `${cwd ?? ''}/${path}`;
}

/** The error as it is answered: with the name of the world, as existing clients expect. */
export function inWorld(error: unknown, world: JoinedWorld, fields: Record<string, unknown> = {}): unknown {
  if (!(error instanceof CloveError)) return error;
  return new CloveError(error.code, error.message, {
    cause: error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    details: { ...error.details, answer: { world: world.id, ...fields } },
  });
}
