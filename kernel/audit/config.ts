import { z } from 'zod';
import { AUDIT_CATEGORIES, type AuditCategory } from '../syscalls/define.ts';

/** Which switch is which category's, as existing clients name them. */
export const SWITCHES = {
  log_security: 'SECURITY',
  log_lifecycle: 'AGENT_LIFECYCLE',
  log_resource: 'RESOURCE',
  log_syscalls: 'SYSCALL',
  log_ipc: 'IPC',
  log_state: 'STATE_STORE',
  log_network: 'NETWORK',
  log_world: 'WORLD',
} as const satisfies Readonly<Record<string, AuditCategory>>;

/** What is written, and how much of it is kept. */
export const auditConfig = z.object({
  max_entries: z
    .int()
    .min(1)
    .max(2 ** 40)
    .describe(
      'The newest so many records are kept of each category: of its events, of the calls of operators and of those of agents, each for itself.',
    ),
  log_security: z.boolean(),
  log_lifecycle: z.boolean(),
  log_resource: z.boolean(),
  log_syscalls: z.boolean(),
  log_ipc: z.boolean(),
  log_state: z.boolean(),
  log_network: z.boolean(),
  log_world: z.boolean(),
});
export type AuditConfig = Readonly<z.output<typeof auditConfig>>;

export const DEFAULT_AUDIT_CONFIG: AuditConfig = {
  max_entries: 10_000,
  log_security: true,
  log_lifecycle: true,
  log_resource: true,
  log_syscalls: false,
  log_ipc: false,
  log_state: false,
  log_network: false,
  log_world: false,
};

/** By position in AUDIT_CATEGORIES. */
export function switchesOf(config: AuditConfig): boolean[] {
  const on = new Set<AuditCategory>();
  for (const [key, category] of Object.entries(SWITCHES)) {
    if (config[key as keyof typeof SWITCHES]) on.add(category);
  }
  return AUDIT_CATEGORIES.map((category) => on.has(category));
}
