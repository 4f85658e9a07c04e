import { isPrivate } from '../severity/features.ts';
import type { IncidentType, Severity } from '../severity/incident.ts';

export const ACTIONS = [
  'block_ip',
  'monitor_ip',
  'revoke_session',
  'enable_ddos_protection',
  'isolate_host',
  'investigate',
  'cleanup',
] as const;
export type Action = (typeof ACTIONS)[number];

/** What is done about what, in order; a type without an entry is only recorded. */
export const PLAYBOOK: Readonly<Partial<Record<IncidentType, readonly Action[]>>> = {
  SQL_INJECTION: ['block_ip', 'investigate'],
  BRUTE_FORCE: ['block_ip', 'investigate'],
  PORT_SCAN: ['block_ip'],
  PATH_TRAVERSAL: ['block_ip'],
  XSS_ATTEMPT: ['block_ip'],
  DDOS_DETECT: ['enable_ddos_protection', 'block_ip'],
  C2_BEACON: ['isolate_host', 'investigate'],
  PRIV_ESC: ['revoke_session', 'block_ip'],
  DATA_EXFIL: ['revoke_session', 'block_ip', 'investigate'],
  UNAUTH_ACCESS: ['revoke_session'],
  FAILED_LOGIN: ['monitor_ip'],
  INVALID_USER: ['monitor_ip'],
  RATE_LIMIT: ['monitor_ip'],
  DISK_FULL: ['cleanup'],
};

export interface Proposal {
  readonly action: Action;
  readonly target: string;
  readonly severity: Severity;
}

export type Decision =
  | { readonly kind: 'act' }
  | { readonly kind: 'approve'; readonly reason: string }
  | { readonly kind: 'refuse'; readonly reason: string };

const PROTECTED_USERS: ReadonlySet<string> = new Set([
  'root',
  'admin',
  'administrator',
  'system',
  'postgres',
  'mysql',
  'www-data',
  'nginx',
  'daemon',
  'bin',
  'nobody',
  'sshd',
  'operator',
]);
const BLOCKS_PER_MINUTE = 10;
const NEEDS_APPROVAL: ReadonlySet<Action> = new Set<Action>(['isolate_host', 'cleanup']);
const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/;

/** Rules that no incident, however bad, can talk an executor out of. */
export class SafetyRules {
  readonly #blocks: number[] = [];

  /** `nowMs` in world time. A block that is allowed counts against the rate. */
  decide({ action, target }: Proposal, nowMs: number): Decision {
    if (action === 'block_ip' || action === 'monitor_ip') {
      if (!IPV4.test(target)) return { kind: 'refuse', reason: `${target} is no IPv4 address` };
      if (action === 'block_ip' && isPrivate(target))
        return { kind: 'refuse', reason: `${target} is an address of ours` };
    }
    if (action === 'revoke_session' && PROTECTED_USERS.has(target))
      return { kind: 'refuse', reason: `${target} is a protected account` };
    if (NEEDS_APPROVAL.has(action)) return { kind: 'approve', reason: `${action} needs somebody's word` };
    if (action === 'block_ip') {
      while (this.#blocks.length > 0 && (this.#blocks[0] as number) <= nowMs - 60_000) this.#blocks.shift();
      if (this.#blocks.length >= BLOCKS_PER_MINUTE)
        return { kind: 'refuse', reason: `more than ${BLOCKS_PER_MINUTE} blocks in a minute` };
      this.#blocks.push(nowMs);
    }
    return { kind: 'act' };
  }
}
