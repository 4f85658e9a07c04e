import type { Caller } from '../identity.ts';
import { checkHttp, deny, type Permissions } from '../permissions/permissions.ts';
import { forbidden, refusalText } from '../permissions/refusal.ts';
import type { HttpPolicy, HttpVerdict } from './policy.ts';

/** What the caller's grants say. An operator's client may reach whatever this machine can: it is trusted with the host. */
export class GrantsPolicy implements HttpPolicy {
  readonly #permissions: Permissions;

  constructor(permissions: Permissions) {
    this.#permissions = permissions;
  }

  check(caller: Caller, url: URL, method: string): HttpVerdict {
    const grants = this.#permissions.grantsOf(caller);
    const { refusal } = checkHttp(grants, url.href, method);
    return {
      refusal:
        refusal === null ? null : forbidden(deny(refusal, grants, url.host), refusalText('HTTP', refusal)),
      privateNetwork: grants.http.privateNetwork || this.#permissions.isUnbounded(caller),
    };
  }
}
