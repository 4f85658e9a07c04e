import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CloveError, isCloveError } from '../../errors/index.ts';
import { launch } from '../../native/index.ts';
import { isMissing } from '../../native/missing.ts';
import { LAYERS, type Layer, type LayerReport, type Sandbox } from '../../native/types.ts';
import { commandPlan } from '../agents/command.ts';
import { MAY_DEGRADE, WALLS } from '../agents/isolation.ts';
import { INSIDE_HOME } from '../agents/plan.ts';
import { layersMissingOn } from '../agents/reduced-host.ts';
import { isMappedUser } from '../agents/uid-pool.ts';
import { openBoot } from '../boot.ts';
import { FIRST_UID, lockUidBlock } from '../locks.ts';
import { createLog } from '../log.ts';
import { DEFAULT_RUN_DIRECTORY } from '../options.ts';
import { claimPrivateFolder } from '../private-folder.ts';
import { type HostFacts, hostFacts } from './facts.ts';
import { NAMESPACES, remedyFor } from './remedies.ts';

export interface LayerDiagnosis extends LayerReport {
  /** What to do where it is missing. */
  readonly remedy: string | null;
}

/** What agents on this machine are kept apart by. */
export type Strength = 'full' | 'reduced' | 'none';

export interface Diagnosis {
  readonly host: HostFacts;
  /** full: every layer; reduced: the walls that keep an agent from the host stand, some of the rest is missing. */
  readonly strength: Strength;
  readonly layers: readonly LayerDiagnosis[];
  /** Why no sandbox whatsoever could be made; null = one was. */
  readonly error: { readonly code: string; readonly message: string; readonly hint: string | null } | null;
}

/** Layers that cannot stand where another could not be had. */
const OF_NAMESPACES: readonly Layer[] = ['uid', ...NAMESPACES];
const MAX_ATTEMPTS = 6;

/**
 * Runs /bin/true under the whole recipe, with less required each time it cannot be set up, and tells of every layer what became
 * of it. Nothing of it stays on the machine. Makes no kernel. @throws SETUP_FAILED when the native part cannot be had
 */
export async function diagnose(): Promise<Diagnosis> {
  const host = hostFacts();
  const folder = runFolder();
  const boot = openBoot(folder.path, () => randomBytes(4).toString('hex'), createLog('error'));
  const users =
    host.euid === 0 && isMappedUser(FIRST_UID) ? lockUidBlock(path.join(folder.path, 'uids')) : null;
  try {
    const uid = users?.firstUid ?? (host.euid === 0 ? FIRST_UID : host.euid);
    const place = { cgroupParent: boot.cgroupParent, bootId: boot.id, uid };
    return await tryLayers(host, place);
  } finally {
    users?.release();
    await boot.remove();
    folder.remove();
  }
}

/** That of kernels, or one for this once where that is not ours to use. */
function runFolder(): { readonly path: string; remove(): void } {
  try {
    claimPrivateFolder(DEFAULT_RUN_DIRECTORY, true);
    return { path: DEFAULT_RUN_DIRECTORY, remove: () => {} };
  } catch {
    const folder = mkdtempSync(path.join(tmpdir(), 'clove-doctor-'));
    return { path: folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
  }
}

interface Place {
  readonly cgroupParent: string;
  readonly bootId: string;
  readonly uid: number;
}

async function tryLayers(host: HostFacts, place: Place): Promise<Diagnosis> {
  const missing = new Map<Layer, CloveError>();
  for (const [layer, { how, errno }] of layersMissingOn(host))
    missing.set(
      layer,
      new CloveError('SANDBOX_UNAVAILABLE', how, {
        details: { stage: 'clone', syscall: 'clone', layer, errno },
      }),
    );
  for (let attempt = 1; ; attempt += 1) {
    try {
      const sandbox = await launchTrue(place, [...missing.keys()], attempt);
      await sandbox.exited;
      const layers = sandbox.layers
        .map((report) => withCause(report, missing))
        .map((report) => ({
          ...report,
          remedy: isMissing(report) ? remedyFor(report, host) : null,
        }));
      return { host, strength: strengthOf(layers), layers, error: null };
    } catch (error) {
      if (!isCloveError(error)) throw error;
      const { layer, stage } = (error.details ?? {}) as { layer?: Layer | null; stage?: string };
      const before = missing.size;
      for (const each of layersOf(layer ?? null, stage ?? ''))
        if (!missing.has(each)) missing.set(each, error);
      if (missing.size > before && attempt < MAX_ATTEMPTS) continue;
      const { code, message } = error;
      const { errno = null } = (error.details ?? {}) as { errno?: string | null };
      // Where not even a process of its own can be had, that is what has to be made possible first.
      const about = {
        layer: layer ?? ('pidns' as const),
        requested: true,
        state: 'off' as const,
        how: message,
        errno,
      };
      const hint = remedyFor({ ...about, hint: error.hint ?? null }, host);
      return { host, strength: 'none', layers: [], error: { code, message, hint } };
    }
  }
}

/** What cannot be had, where this step of the set-up fails. */
function layersOf(layer: Layer | null, stage: string): readonly Layer[] {
  if (layer !== null && LAYERS.includes(layer))
    return OF_NAMESPACES.includes(layer) && layer !== 'uid' ? OF_NAMESPACES : [layer];
  return stage === 'exec' ? [] : OF_NAMESPACES;
}

function launchTrue(
  { cgroupParent, bootId, uid }: Place,
  without: readonly Layer[],
  attempt: number,
): Promise<Sandbox> {
  const hasOwnFiles = !without.includes('mntns');
  // What is required and left out is decided here.
  const plan = commandPlan(['/bin/true'], hasOwnFiles ? INSIDE_HOME : '/tmp', 'off');
  return launch({
    ...plan.sandbox,
    env: { PATH: '/usr/bin:/bin' },
    require: [],
    disable: without,
    unavailable: {},
    instance: `${bootId}-d${attempt}`,
    hostname: 'clove-doctor',
    uid,
    gid: uid,
    socketPath: null,
    stdin: null,
    stdout: 2,
    stderr: 2,
    cgroupParent,
  });
}

/** A layer that was left out because it could not be had is off for that reason, not because nobody wanted it. */
function withCause(report: LayerReport, missing: ReadonlyMap<Layer, CloveError>): LayerReport {
  const cause = missing.get(report.layer);
  if (cause === undefined) return report;
  const { errno } = (cause.details ?? {}) as { errno?: string | null };
  return {
    ...report,
    requested: true,
    state: 'off',
    how: cause.message,
    errno: errno ?? null,
    hint: cause.hint ?? null,
  };
}

function strengthOf(layers: readonly LayerReport[]): Strength {
  if (!layers.some(isMissing)) return 'full';
  const standing = new Set(layers.filter(({ state }) => state === 'on').map(({ layer }) => layer));
  for (const layer of MAY_DEGRADE)
    if (layers.find((report) => report.layer === layer)?.state === 'degraded') standing.add(layer);
  return WALLS.every((layer) => standing.has(layer)) ? 'reduced' : 'none';
}
