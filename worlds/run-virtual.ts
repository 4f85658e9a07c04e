import { CloveError } from '../errors/index.ts';
import { BlockStore } from './filesystem/blocks.ts';
import type { ResolvedDefinition } from './resolve.ts';
import { recordOf, type WorldRunOptions, type WorldRunRecord } from './run.ts';
import { createVirtualWorld } from './virtual-world.ts';

/** Of the world's time, which costs nothing where it is skipped. */
const MAX_WORLD_MS = 10 * 365 * 86_400_000;

export interface VirtualRun {
  readonly stdout: string;
  readonly stderr: string;
  /** null = ended by the time limit. */
  readonly exitCode: number | null;
  /** Of the output. */
  readonly truncated: boolean;
  readonly record: WorldRunRecord;
}

/**
 * A fresh virtual world, and one command in its own shell: no process, no privilege.
 * @throws CONFIG, NOT_FOUND, CANCELLED, FORBIDDEN (a definition that leaves files to its members)
 */
export async function runVirtually(
  resolved: ResolvedDefinition & { readonly name: string },
  options: Omit<WorldRunOptions, 'upstream'>,
  command: {
    readonly argv: readonly string[];
    readonly cwd: string | null;
    /** Of the host's time; null = none. */
    readonly timeoutMs: number | null;
    readonly signal: AbortSignal;
  },
): Promise<VirtualRun> {
  const { definition, origin, folder, warnings } = resolved;
  const { seed, watch = null } = options;
  if (definition.files === 'own')
    throw new CloveError('CONFIG', 'files: own: a virtual world without files has no shell', {
      hint: 'Run it mounted.',
    });
  const started = performance.now();
  const member = { id: 1, name: 'run' };
  const world = await createVirtualWorld({
    id: 'run',
    name: resolved.name,
    ownerId: 0,
    seed: seed ?? definition.seed,
    definition,
    origin,
    folder,
    blocks: watch?.blocks ?? new BlockStore(),
    upstream: null,
    outside: {
      // A command of the world's shell is nobody that could be killed or held.
      members: {
        list: () => [{ ...member, isAgent: false }],
        crash: () => undefined,
        pause: async () => undefined,
        resume: async () => undefined,
      },
      send: () => undefined,
      emit: () => undefined,
      changed: (what) => watch?.run.journal.changed(what),
    },
  });
  try {
    watch?.run.journal.follow(world);
    world.add(member, true);
    const createMs = performance.now() - started;
    const begunMs = world.parts.clock.monotonicMs();
    const limit = command.timeoutMs === null ? null : AbortSignal.timeout(command.timeoutMs);
    const ended = await world
      .exec(member, {
        script: command.argv.map(quoted).join(' '),
        cwd: command.cwd,
        timeoutMs: MAX_WORLD_MS,
        merged: false,
        signal: limit === null ? command.signal : AbortSignal.any([command.signal, limit]),
      })
      .catch((error: unknown) => {
        if (limit?.aborted !== true || command.signal.aborted) throw error;
        return { stdout: '', stderr: '', exitCode: -1, timedOut: true, truncated: true };
      });
    watch?.run.take(world);
    return {
      stdout: ended.stdout,
      stderr: ended.stderr,
      exitCode: ended.timedOut ? null : ended.exitCode,
      truncated: ended.truncated,
      record: recordOf(world, { ...options, warnings, createMs, begunMs }),
    };
  } finally {
    world.close();
  }
}

/** As one word of a shell, whatever is in it. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
