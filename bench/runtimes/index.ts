import type { RuntimeName } from '../types.ts';
import { createHostedRuntime } from './hosted.ts';
import type { IsolationStrength } from './isolation.ts';
import { createProcessRuntime } from './process.ts';
import type { Runtime, RuntimeContext } from './runtime.ts';

export const RUNTIME_NAMES: readonly RuntimeName[] = [
  'clove',
  'process',
  'thread',
  'sequential',
  'python-pool',
];

export interface RuntimeChoice {
  /** Socket of a kernel that runs already; null = a private one of the bench's own. Only for `clove`. */
  readonly kernelSocket: string | null;
  /** Fork trials from a template process where that can be had. Only for `clove`. */
  readonly zygote: boolean;
  readonly isolation: IsolationStrength;
}

/** Throws SANDBOX_UNAVAILABLE, SETUP_FAILED, UNREACHABLE when the runtime cannot be had. */
export async function createRuntime(
  name: RuntimeName,
  context: RuntimeContext,
  choice: RuntimeChoice,
): Promise<Runtime> {
  if (context.fleet !== undefined && (name === 'clove' || name === 'process')) {
    const { createFleetRuntime } = await import('../fleet/runtime.ts');
    return createFleetRuntime(name, context.fleet, context, choice.isolation);
  }
  switch (name) {
    case 'clove': {
      // Loaded on demand: the kernel is of no use to the other runtimes.
      const { createCloveRuntime } = await import('./clove.ts');
      return await createCloveRuntime(context, choice);
    }
    case 'process':
      return createProcessRuntime(context);
    case 'thread':
    case 'sequential':
    case 'python-pool':
      return await createHostedRuntime(name, context);
  }
}
