// Types only: nothing of the kernel is loaded when a program uses the SDK.

import type { CloveError } from '../../errors/index.ts';
import type { SyscallName } from '../../kernel/protocol/opcodes.ts';
import type { SyscallRequest, SyscallResponse } from '../../kernel/syscalls/table.ts';

export type { SyscallName, SyscallRequest, SyscallResponse };

/** What the caller must give with a call: nothing at all for syscalls that need nothing. */
export type RequestArguments<Name extends SyscallName> =
  undefined extends SyscallRequest<Name>
    ? [request?: SyscallRequest<Name>, options?: CallOptions]
    : Record<never, never> extends SyscallRequest<Name>
      ? [request?: SyscallRequest<Name>, options?: CallOptions]
      : [request: SyscallRequest<Name>, options?: CallOptions];

export interface CallOptions {
  /** Rejects with TIMEOUT after so long; null = never. Default: the client's; for calls that wait, null. ms */
  readonly timeoutMs?: number | null;
  /** Rejects with CANCELLED when aborted. What the call asked for may still happen. */
  readonly signal?: AbortSignal | undefined;
}

export interface WaitOptions extends CallOptions {
  /** Wait until there is something; `timeoutMs` then says for how long, and its end is no error. Default false. */
  readonly wait?: boolean;
  /** At most so many. */
  readonly max?: number;
}

export interface ReconnectOptions {
  /** Pause before the second attempt; doubles with every further one. Default 20 ms. */
  readonly initialMs?: number;
  /** Longest pause. Default 2000 ms. */
  readonly maxMs?: number;
  /** Gives up when nobody has answered for so long: calls then reject with UNREACHABLE. Default 60 000 ms. */
  readonly giveUpMs?: number;
}

export interface ClientOptions {
  /** Default: $CLOVE_SOCKET, else /run/clove.sock where it exists (inside a sandbox), else /tmp/clove.sock. */
  readonly socketPath?: string;
  /** How long a call may take. Default 30 000 ms; null = for ever. */
  readonly timeoutMs?: number | null;
  /** How long connect() goes on trying while nobody answers. Default 0: one attempt. ms */
  readonly connectRetryMs?: number;
  /** false = a lost connection stays lost. Default: reconnects, takes its names again and renews its subscriptions. */
  readonly reconnect?: ReconnectOptions | false;
  /** An answer larger than this ends the connection with PAYLOAD_TOO_LARGE. Default 64 MiB. */
  readonly maxAnswerBytes?: number;
  /** Told what went wrong where no call could be: a name or subscription that was lost with a connection. Default: a process warning. */
  readonly onWarning?: (warning: CloveError) => void;
}

export type ReceivedMessage = SyscallResponse<'RECV'>['messages'][number];
export type ReceivedEvent = SyscallResponse<'POLL_EVENTS'>['events'][number];
/** Id or name of an agent or client. */
export type Target = number | string;
