import type { LaunchPlan } from './agent.ts';
import { INSIDE_PATH } from './interpreter.ts';
import { resolveIsolation, type Sandboxing } from './isolation.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { INSIDE_HOME, SETUP_TIMEOUT_MS } from './plan.ts';

/** A default sandbox for one command of an operator: no network, no socket, nothing mounted. */
export function commandPlan(argv: readonly string[], cwd: string | null, sandboxing: Sandboxing): LaunchPlan {
  const isolation = resolveIsolation({}, DEFAULT_LIMITS, 'none', sandboxing);
  return {
    name: 'exec',
    request: null,
    sandbox: {
      argv,
      env: {
        PATH: isolation.ownFiles ? INSIDE_PATH : (process.env.PATH ?? INSIDE_PATH),
        HOME: isolation.ownFiles ? INSIDE_HOME : '/tmp',
        LANG: 'C.UTF-8',
      },
      cwd: cwd ?? (isolation.ownFiles ? INSIDE_HOME : '/'),
      limits: DEFAULT_LIMITS,
      mounts: [],
      network: 'none',
      profile: isolation.profile,
      require: isolation.require,
      disable: isolation.disable,
      unavailable: isolation.unavailable,
      faultStep: null,
      faultErrno: 0,
      setupTimeoutMs: SETUP_TIMEOUT_MS,
    },
    stdin: null,
    timeoutMs: null,
    logBytes: 0,
  };
}
