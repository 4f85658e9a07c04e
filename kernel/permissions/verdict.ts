import type { CloveError } from '../../errors/index.ts';
import type { Decision } from './decision.ts';
import { digestOf, firstExcess, type Grants, intersect } from './grants.ts';
import { type HttpDecision, httpRefusal } from './hosts.ts';
import { forbidden } from './refusal.ts';

export function allow(ruleId: string, grants: Grants, object: string): Decision {
  return { allowed: true, ruleId, policyDigest: digestOf(grants), object };
}

export function deny(ruleId: string, grants: Grants, object: string): Decision {
  return { allowed: false, ruleId, policyDigest: digestOf(grants), object };
}

/** What is wanted, with whatever the bound blocks blocked, too. @throws FORBIDDEN when it goes beyond the bound otherwise */
export function within(bound: Grants, wanted: Grants): Grants {
  const blocking: Grants = {
    ...wanted,
    paths: { ...wanted.paths, blocked: [...new Set([...wanted.paths.blocked, ...bound.paths.blocked])] },
    commands: {
      ...wanted.commands,
      blocked: [...new Set([...wanted.commands.blocked, ...bound.commands.blocked])],
    },
    syscalls: { ...wanted.syscalls, deny: [...new Set([...wanted.syscalls.deny, ...bound.syscalls.deny])] },
  };
  const excess = firstExcess(blocking, bound);
  if (excess !== null) throw widens(bound, excess);
  return intersect(wanted, bound);
}

function widens(bound: Grants, excess: string): CloveError {
  return forbidden(
    deny(`permissions.widen:${excess}`, bound, excess),
    `Permission denied: ${excess} goes beyond what may be given here`,
  );
}

/** Whether grants cover a request over HTTP; `url` is the parse to act on. Addresses are the connection's to check. */
export function checkHttp(grants: Grants, url: string | URL, method: string): HttpDecision {
  if (!grants.can.http) {
    return {
      refusal: 'syscall.not-granted:HTTP',
      message: 'Permission denied: HTTP not allowed',
      url: typeof url === 'string' ? URL.parse(url) : url,
    };
  }
  return httpRefusal(url, method, grants.http.domains, grants.http.methods);
}
