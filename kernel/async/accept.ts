import { CloveError } from '../../errors/index.ts';
import type { SyscallContext } from '../syscalls/define.ts';
import type { AsyncCall } from './tasks.ts';

/** The answer to a call that will be answered later. */
export interface Accepted {
  success: true;
  async: true;
  request_id: number;
  status: 'accepted';
}

/**
 * Accepts a call to be answered later, by ASYNC_POLL. `work` resolves to the answer it would have; `input` is for
 * whoever observes calls; `isTimedByWorld`: what it takes is a matter of the caller's world itself. @throws BAD_REQUEST, OVERLOAD, CANCELLED
 */
export function accept(
  context: SyscallContext,
  call: AsyncCall,
  chosenId: number | null | undefined,
  work: (signal: AbortSignal) => Promise<unknown>,
  { input, isTimedByWorld = false }: { readonly input?: unknown; readonly isTimedByWorld?: boolean } = {},
): Accepted {
  const { kernel, caller, signal } = context;
  // A request that waited for its turn while its connection went away: nobody would ever free what it leaves behind.
  if (signal.aborted) throw new CloveError('CANCELLED', 'the caller is gone');
  const world = isTimedByWorld ? null : (kernel.worlds?.joinedBy(caller.id) ?? null);
  // Its caller may wait for it in the world's time, which must not be skipped while real work is done.
  const timed = async (taskSignal: AbortSignal) => {
    using _works = world?.works(`${call.name} of agent ${caller.id}`);
    return await work(taskSignal);
  };
  const requestId = kernel.tasks.submit(caller.id, call, chosenId ?? 0, (taskSignal) =>
    kernel.dispatcher.outcomeOf(context, call.opcode, () => timed(taskSignal), input),
  );
  return { success: true, async: true, request_id: requestId, status: 'accepted' };
}
