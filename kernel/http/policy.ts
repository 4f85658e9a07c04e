import type { CloveError } from '../../errors/index.ts';
import type { Caller } from '../identity.ts';

export interface HttpVerdict {
  /** To be thrown; null = nothing stands against it. */
  readonly refusal: CloveError | null;
  /** Whether the caller may reach addresses of this machine and of private networks. */
  readonly privateNetwork: boolean;
}

/** What a caller may ask for, by URL and method. Asked anew for every redirect, before anything is resolved. */
export interface HttpPolicy {
  check(caller: Caller, url: URL, method: string): HttpVerdict;
}
