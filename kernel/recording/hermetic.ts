import { type SpawnRequest, spawnRequest } from '../agents/spawn-request.ts';
import type { RecordedRun } from './load.ts';
import { fingerprint } from './process-facts.ts';

/** As it was started then, but so that it reaches nothing besides the kernel. */
export function hermetic(
  { name, process: facts }: RecordedRun,
  env: Readonly<Record<string, string>>,
  notes: string[],
): SpawnRequest {
  const request = spawnRequest.parse(facts?.request);
  const { script } = facts ?? {};
  if (script) {
    const now = fingerprint(script.path);
    if (now.sha256 !== script.sha256)
      notes.push(`the script ${script.path} is not the one that was recorded`);
  }
  if (request.network === true) notes.push('it had the network of the host, and has none in a replay');
  if (request.sandboxed === false) notes.push('it had no sandbox, and has one in a replay');
  if (request.mounts?.some(({ readonly }) => readonly === false)) {
    notes.push('it could write to folders of the host, and only reads them in a replay');
  }
  return {
    ...request,
    name,
    env: { ...request.env, ...(facts?.seed == null ? {} : { CLOVE_SEED: facts.seed }), ...env },
    network: false,
    sandboxed: true,
    mounts: (request.mounts ?? []).map((mount) => ({ ...mount, readonly: true })),
    restart_policy: 'never',
    timeout_ms: null,
  };
}
