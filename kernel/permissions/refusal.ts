import { CloveError, isCloveError } from '../../errors/index.ts';
import type { Decision } from './decision.ts';

/** The words existing clients look for. */
const TEXTS: Readonly<Record<string, string>> = {
  READ: 'Permission denied: path not allowed for reading',
  WRITE: 'Permission denied: path not allowed for writing',
  EXEC: 'Permission denied: command not allowed',
  HTTP: 'Permission denied: HTTP not allowed',
  THINK: 'Permission denied: LLM quota exceeded or not allowed',
  LLM_REPORT: 'LLM quota exceeded or permission denied',
};

const OTHERS_PERMISSIONS = "Permission denied: cannot modify other agent's permissions";

/** What a refused caller is told: by the syscall, and for some by the rule. */
export function refusalText(syscall: string, ruleId: string): string {
  if (ruleId.startsWith('domain.not-granted:')) {
    return `Permission denied: domain not in whitelist: ${ruleId.slice('domain.not-granted:'.length)}`;
  }
  if (ruleId.startsWith('method.not-granted:')) return 'Permission denied: HTTP method not allowed';
  if (ruleId === 'permissions.not-yours') return OTHERS_PERMISSIONS;
  return TEXTS[syscall] ?? `Permission denied: ${syscall} not allowed (${ruleId})`;
}

/** A refusal as it is thrown: with the rule, so that whoever answers can record it. */
export function forbidden({ ruleId, policyDigest, object }: Decision, message: string): CloveError {
  return new CloveError('FORBIDDEN', message, { details: { rule: ruleId, policy: policyDigest, object } });
}

/** The decision behind an error, null when it is about something else than authority. */
export function decisionOf(error: unknown): Decision | null {
  if (!isCloveError(error) || error.code !== 'FORBIDDEN') return null;
  const { rule, policy, object } = error.details ?? {};
  if (typeof rule !== 'string') return null;
  return { allowed: false, ruleId: rule, policyDigest: String(policy ?? ''), object: String(object ?? '') };
}
