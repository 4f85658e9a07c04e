import type { ErrorData } from '../../errors/index.ts';
import type { AttemptOrder, AttemptReport } from './order.ts';

/** What travels between the bench and a process that hosts several trials, over Node's IPC channel. */
export type ToHost =
  | { readonly kind: 'run'; readonly id: number; readonly order: AttemptOrder }
  | {
      readonly kind: 'abort';
      readonly id: number;
    };

export type FromHost =
  | { readonly kind: 'ready' }
  | { readonly kind: 'report'; readonly id: number; readonly report: AttemptReport }
  /** The attempt's thread was ended ('aborted': because the bench asked for it). */
  | { readonly kind: 'lost'; readonly id: number; readonly aborted: boolean; readonly error: ErrorData };
