import { CloveError } from '../../errors/index.ts';
import type { Sandbox } from '../../native/types.ts';
import type { Caller } from '../identity.ts';
import type { Kernel } from '../kernel.ts';
import { mergeEnvironment } from './attachment.ts';

/** The inside of a caller's sandbox: where its files are and its commands run. */
export interface Inside {
  readonly sandbox: Sandbox;
  readonly env: Readonly<Record<string, string>>;
  /** Of these the variables of the world it is in: they hold whatever else is left out. */
  readonly worldEnv: Readonly<Record<string, string>>;
  readonly cwd: string;
}

/** Of an agent its own; of one behind a relay its workspace, made now if it has none. @throws NOT_FOUND, SANDBOX_UNAVAILABLE … */
export async function insideOf(kernel: Kernel, caller: Caller): Promise<Inside> {
  if (caller.kind === 'remote') {
    const workspace = kernel.remotes.workspaceOf(caller.id);
    if (workspace === null) throw new CloveError('NOT_FOUND', 'the agent has ended');
    const { env, cwd } = workspace.plan.sandbox;
    return { sandbox: await workspace.sandbox(), env, worldEnv: {}, cwd };
  }
  const agent = kernel.agents.get(caller.id);
  const sandbox = agent?.sandbox;
  if (agent === undefined || sandbox === null || sandbox === undefined) {
    throw new CloveError('NOT_FOUND', 'the agent has ended');
  }
  const { env, cwd } = agent.plan.sandbox;
  const worldEnv = kernel.launcher.attachedEnv(agent.id);
  return { sandbox, env: mergeEnvironment(env, worldEnv), worldEnv, cwd };
}
