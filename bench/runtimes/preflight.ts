import { CloveError, isCloveError } from '../../errors/index.ts';
import type { TrialLimits } from '../types.ts';
import { allowanceOf, type IsolationStrength, sandboxingOf } from './isolation.ts';

/**
 * Whether this user can have the sandboxes of the runtime `clove`, asked before anything long is begun. Root can, or learns more
 * when the runtime tries one itself. @throws SANDBOX_UNAVAILABLE
 */
export async function requireSandboxes(
  limits: Pick<TrialLimits, 'memoryBytes' | 'maxPids'>,
  strength: IsolationStrength,
): Promise<void> {
  if (process.geteuid?.() === 0) return;
  const { runForeground } = await import('../../kernel/foreground.ts');
  try {
    await runForeground({
      request: {
        command: ['/bin/true'],
        limits: { memory: limits.memoryBytes, max_pids: limits.maxPids },
        ...allowanceOf(strength),
      },
      kernel: { logLevel: 'silent', sandbox: sandboxingOf(strength) },
      stdin: null,
      onOutput: () => {},
    });
  } catch (error) {
    if (!isCloveError(error) || error.code !== 'SANDBOX_UNAVAILABLE') throw error;
    throw new CloveError('SANDBOX_UNAVAILABLE', `this user cannot have sandboxes: ${error.message}`, {
      hint:
        strength === 'full'
          ? 'Run it as root, or with less than every layer: --require reduced.'
          : 'Run it as root, with what this machine can give (--require least), or without sandboxes and what they protect: --runtime process.',
      ...(error.details === undefined ? {} : { details: error.details }),
      cause: error,
    });
  }
}
