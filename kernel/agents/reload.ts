import { chmod, copyFile, mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { Agent, LaunchPlan } from './agent.ts';
import type { ScriptPlace } from './script.ts';

/** A script as it was when the agent that runs it was last started by somebody. */
interface Copy {
  /** Where the agent finds its script. */
  readonly file: string;
  /** Where it lies on the host. */
  readonly copy: string;
}

/**
 * Copies of the scripts that agents run from the host: a script is edited in place, and what came before it is gone then. One
 * that does not come up is given up for its copy.
 */
export class CodeCopies {
  readonly #folderOf: (agentId: number) => string;
  readonly #copies = new Map<number, Copy>();
  #made = 0;

  /** @param folderOf Folder of an agent that goes when the agent does. */
  constructor(folderOf: (agentId: number) => string) {
    this.#folderOf = folderOf;
  }

  /** Where the next code of an agent may keep what it needs. */
  nextFolder(agentId: number): string {
    this.#made += 1;
    return path.join(this.#folderOf(agentId), `code-${this.#made}`);
  }

  /** @throws IO; without a copy there is nothing older to fall back on than what lies at the path */
  async keep(agent: Agent, script: ScriptPlace | null): Promise<void> {
    // What was copied for the agent is nobody's to edit.
    if (script === null || script.mounted === 'copy' || script.mounted === 'host') {
      this.#copies.delete(agent.id);
      return;
    }
    const folder = this.nextFolder(agent.id);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const copy = path.join(folder, 'script');
    await copyFile(script.path, copy);
    await chmod(copy, 0o444);
    // It may have ended meanwhile, and its folder with it.
    if (agent.state === 'stopped' || agent.state === 'failed') return;
    this.#copies.set(agent.id, { file: script.path, copy });
  }

  /** The plan with its script as it was, where a copy of it is kept. */
  pinned(agentId: number, plan: LaunchPlan): LaunchPlan {
    const kept = this.#copies.get(agentId);
    if (kept === undefined) return plan;
    const mounts = plan.sandbox.mounts.filter(({ target }) => target !== kept.file);
    const script = { source: kept.copy, target: kept.file, readonly: true };
    return { ...plan, sandbox: { ...plan.sandbox, mounts: [...mounts, script] } };
  }

  release(agentId: number): void {
    this.#copies.delete(agentId);
  }
}
