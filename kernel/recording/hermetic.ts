import type { Layer } from '../../native/types.ts';
import { type SpawnRequest, spawnRequest } from '../agents/spawn-request.ts';
import type { RecordedRun } from './load.ts';
import { fingerprint } from './process-facts.ts';

/** Without one of these an agent could reach the host, its network, its files or its processes by itself. */
const ESSENTIAL: ReadonlySet<Layer> = new Set([
  'uid',
  'userns',
  'pidns',
  'mntns',
  'netns',
  'ipcns',
  'root_ro',
  'caps',
  'nnp',
  'fds',
]);

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
  const { isolation } = request;
  const given = [...(isolation?.disable ?? []), ...(isolation?.allow_degraded ?? [])];
  if (isolation?.require != null || given.some((layer) => ESSENTIAL.has(layer))) {
    notes.push(
      'it could do without layers of its sandbox, and has all that keep it from the host in a replay',
    );
  }
  const lessImportant = (layers: readonly Layer[] | null | undefined) =>
    (layers ?? []).filter((layer) => !ESSENTIAL.has(layer));
  return {
    ...request,
    name,
    env: { ...request.env, ...(facts?.seed == null ? {} : { CLOVE_SEED: facts.seed }), ...env },
    network: false,
    sandboxed: true,
    isolation: {
      profile: isolation?.profile,
      require: null,
      disable: lessImportant(isolation?.disable),
      allow_degraded: lessImportant(isolation?.allow_degraded),
    },
    mounts: (request.mounts ?? []).map((mount) => ({ ...mount, readonly: true })),
    restart_policy: 'never',
    timeout_ms: null,
  };
}
