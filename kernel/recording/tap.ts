import type { WireRequest } from '../../native/types.ts';
import type { Agent } from '../agents/agent.ts';
import type { Caller } from '../identity.ts';

/**
 * Sees every call of every connection on its way through the dispatcher. A recorder only looks; a replay answers in the
 * kernel's place. NOOP is not among the calls: the wire server answers it by itself.
 */
export interface CallTap {
  /** A request has come. true = taken: the kernel does nothing with it, and the tap answers by Dispatcher.deliver(). */
  begin(request: WireRequest, caller: Caller, agent: Agent | null): boolean;
  /** The kernel's own answer. `delivered` is false when nobody is there to get it any more. false = it does not leave. */
  answered(request: WireRequest, payload: string | Uint8Array, delivered: boolean): boolean;
}
