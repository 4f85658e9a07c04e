import type { Outcome } from '../audit/draft.ts';
import type { SyscallContext, SyscallDefinition } from '../syscalls/define.ts';

/** One call on its way through the dispatcher. */
export interface ObservedCall {
  readonly context: SyscallContext;
  /** undefined = no such syscall. */
  readonly definition: SyscallDefinition | undefined;
  readonly opcode: number;
  /** It was accepted before, as a call of its own, to be answered later. */
  readonly isLater: boolean;
}

/** Told of every call but NOOPs, which the wire server answers by itself. `key` is the same object for one call. Must not throw. */
export interface CallObserver {
  begin(key: object, call: ObservedCall): void;
  /** It was permitted; `input` is what its schema made of the request. */
  admitted(key: object, input: unknown): void;
  /** Its answer leaves now; null where it is an error. */
  ended(key: object, outcome: Outcome, answer: unknown): void;
}

/** Several observers as one; null = there is nobody to tell. */
export function observersAsOne(observers: readonly CallObserver[]): CallObserver | null {
  const [only] = observers;
  if (observers.length <= 1) return only ?? null;
  return {
    begin(key, call) {
      for (const observer of observers) observer.begin(key, call);
    },
    admitted(key, input) {
      for (const observer of observers) observer.admitted(key, input);
    },
    ended(key, outcome, answer) {
      for (const observer of observers) observer.ended(key, outcome, answer);
    },
  };
}
