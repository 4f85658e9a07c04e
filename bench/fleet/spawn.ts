/** From a role to the request that starts one of its agents. */
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SyscallRequest } from '../../sdk/typescript/index.ts';
import type { Allowance } from '../runtimes/isolation.ts';
import type { FleetScenario, Program, Role } from './types.ts';

const MIB = 2 ** 20;

/**
 * All that stands between the machine and an agent that runs unprotected: far more than its role is given, so that nothing of
 * the role's limits is left, and far less than would hurt.
 */
export const SAFETY_NET = { memory: 512 * MIB, max_pids: 128, cpu: 1 } as const;

/** `<role>` for the only agent of a role, else `<role>-1` … */
export function agentNames(role: string, count: number): string[] {
  return count === 1 ? [role] : Array.from({ length: count }, (_, index) => `${role}-${index + 1}`);
}

export function agentCount(scenario: FleetScenario): number {
  return Object.values(scenario.roles).reduce((sum, role) => sum + (role.count ?? 1), 0);
}

/** Memory that the agents of a scenario may take together. bytes */
export function memoryOf({ roles }: FleetScenario): number {
  return Object.values(roles).reduce((sum, role) => sum + (role.count ?? 1) * memoryLimitOf(role), 0);
}

function memoryLimitOf({ limits }: Role): number {
  return limits.memory ?? (limits.memory_mb == null ? 256 * MIB : limits.memory_mb * MIB);
}

export function spawnRequestOf(
  name: string,
  role: Role,
  place: {
    readonly seed: number;
    readonly isProtected: boolean;
    /** Layers that may be missing where it is protected. */
    readonly allowance?: Allowance;
  },
): SyscallRequest<'SPAWN'> {
  const { restart } = role;
  return {
    name,
    ...programOf(role.program),
    env: { ...role.env, CLOVE_SEED: String(place.seed) },
    ...(place.isProtected
      ? { limits: role.limits, mounts: [...(role.mounts ?? [])], ...place.allowance }
      : { sandboxed: false, limits: SAFETY_NET }),
    ...(role.permissions === undefined ? {} : { permissions: role.permissions }),
    ...(role.timeoutMs === undefined ? {} : { timeout_ms: role.timeoutMs }),
    restart_policy: restart?.policy ?? 'never',
    // A trial's kernel has no successor.
    persist: false,
    ...(restart?.maxRestarts === undefined ? {} : { max_restarts: restart.maxRestarts }),
    ...(restart?.windowSeconds === undefined ? {} : { restart_window: restart.windowSeconds }),
    ...(restart?.backoffMs === undefined ? {} : { restart_backoff_ms: restart.backoffMs }),
    ...(restart?.backoffMaxMs === undefined ? {} : { restart_backoff_max_ms: restart.backoffMaxMs }),
  };
}

export function scriptPath(script: string | URL): string {
  return script instanceof URL || script.startsWith('file:') ? fileURLToPath(script) : script;
}

function programOf(program: Program): Pick<SyscallRequest<'SPAWN'>, 'script' | 'command' | 'args'> {
  if ('command' in program) return { command: [...program.command] };
  return { script: scriptPath(program.script), args: [...(program.args ?? [])] };
}

/** For a reader. */
export function programText(program: Program): string {
  return 'command' in program ? (program.command[0] ?? '') : basename(scriptPath(program.script));
}
