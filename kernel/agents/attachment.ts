import { CloveError } from '../../errors/index.ts';
import {
  LAYERS,
  type Sandbox,
  type SandboxMount,
  type SandboxSpec,
  type SandboxWorld,
} from '../../native/types.ts';

/**
 * What a world adds to an agent's launch: files, network, clock. The kernel does not know worlds; it applies what it is given
 * and shows it in the isolation report.
 */
export interface Attachment {
  readonly worldId: string;
  /** Before every incarnation; each result is for one launch. @throws SANDBOX_UNAVAILABLE, IO … */
  prepare(incarnation: Incarnation): Promise<AttachedParts>;
  /** The agent will not come back. Never rejects. */
  detach(): Promise<void>;
}

export interface Incarnation {
  readonly agentId: number;
  readonly agentName: string;
  /** User and group of the agent on the host: who has to be able to write. */
  readonly uid: number;
  readonly gid: number;
  /** Names of the sandbox, as in SandboxSpec: where its control groups are. */
  readonly instance: string;
  readonly cgroupParent: string;
  /** Where else something is mounted for it. */
  readonly targets: readonly string[];
}

export interface AttachedParts {
  /** Host paths shown inside, after the trees. */
  readonly mounts: readonly SandboxMount[];
  /** Wins over what the agent's request says; LD_PRELOAD is put in front of the request's. */
  readonly env: Readonly<Record<string, string>>;
  /** Descriptors and files of the sandbox; null = files and network are the agent's own. */
  readonly world: SandboxWorld | null;
  /** The sandbox runs, or could not be had (null): descriptors in `world` may be closed. */
  launched(sandbox: Sandbox | null): void;
}

const NO_MOUNTS: SandboxWorld = { netnsFd: null, trees: [], resolv: null, hosts: null, layers: {} };
const NOTHING: AttachedParts = { mounts: [], env: {}, world: null, launched: () => undefined };

/** Several parts of one world (files, network, clock) as one. Those that follow win where two say the same. */
export function combineAttachments(worldId: string, parts: readonly Attachment[]): Attachment {
  return {
    worldId,
    async prepare(incarnation) {
      const prepared: AttachedParts[] = [];
      try {
        for (const part of parts) prepared.push(await part.prepare(incarnation));
      } catch (error) {
        for (const part of prepared) part.launched(null);
        throw error;
      }
      return {
        mounts: prepared.flatMap(({ mounts }) => mounts),
        env: prepared.reduce((env, part) => mergeEnvironment(env, part.env), {}),
        world: prepared.reduce<SandboxWorld | null>((world, part) => mergeWorlds(world, part.world), null),
        launched: (sandbox) => {
          for (const part of prepared) part.launched(sandbox);
        },
      };
    },
    async detach() {
      await Promise.all(parts.map((part) => part.detach()));
    },
  };
}

function mergeWorlds(one: SandboxWorld | null, other: SandboxWorld | null): SandboxWorld | null {
  if (one === null || other === null) return one ?? other;
  return {
    netnsFd: other.netnsFd ?? one.netnsFd,
    trees: [...one.trees, ...other.trees],
    resolv: other.resolv ?? one.resolv,
    hosts: one.hosts === null && other.hosts === null ? null : `${one.hosts ?? ''}${other.hosts ?? ''}`,
    layers: { ...one.layers, ...other.layers },
  };
}

/** Preloaded libraries of both are loaded, those of `over` first. */
export function mergeEnvironment(
  env: Readonly<Record<string, string>>,
  over: Readonly<Record<string, string>>,
): Record<string, string> {
  const preload = [over.LD_PRELOAD, env.LD_PRELOAD].filter(Boolean).join(':');
  return { ...env, ...over, ...(preload === '' ? {} : { LD_PRELOAD: preload }) };
}

const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]{0,255}$/;
/** These are the kernel's to say: who the agent is and where it is served. */
const KERNELS_OWN = /^CLOVE_(SOCKET|AGENT_ID|AGENT_NAME)$/;

function check(worldId: string, { env, world }: AttachedParts): void {
  const wrong = (what: string) => new CloveError('INTERNAL', `world ${worldId}: ${what}`);
  for (const [name, value] of Object.entries(env)) {
    if (!VARIABLE.test(name) || KERNELS_OWN.test(name) || value.includes('\0'))
      throw wrong(`the variable ${name} may not be set`);
  }
  for (const layer of Object.keys(world?.layers ?? {})) {
    if (!(LAYERS as readonly string[]).includes(layer)) throw wrong(`no layer is called ${layer}`);
  }
}

/** Launches a sandbox with what a world adds to it. @throws as `launch`, and what `prepare` throws */
export async function launchAttached(
  launch: (spec: SandboxSpec) => Promise<Sandbox>,
  spec: SandboxSpec,
  agent: { readonly id: number; readonly name: string },
  attachment: Attachment | null,
): Promise<{ readonly sandbox: Sandbox; readonly env: Readonly<Record<string, string>> }> {
  if (attachment === null) return { sandbox: await launch(spec), env: NOTHING.env };
  if (spec.network === 'host') {
    throw new CloveError(
      'FORBIDDEN',
      `an agent of world ${attachment.worldId} cannot have the host’s network`,
    );
  }
  if (spec.disable.includes('mntns') || spec.disable.includes('netns')) {
    throw new CloveError(
      'SANDBOX_UNAVAILABLE',
      `world ${attachment.worldId} needs the layers mntns and netns`,
    );
  }
  const { uid, gid, instance, cgroupParent } = spec;
  const targets = spec.mounts.map(({ target }) => target);
  const parts = await attachment.prepare({
    agentId: agent.id,
    agentName: agent.name,
    uid,
    gid,
    instance,
    cgroupParent,
    targets,
  });
  let sandbox: Sandbox | null = null;
  try {
    check(attachment.worldId, parts);
    sandbox = await launch({
      ...spec,
      env: mergeEnvironment(spec.env, parts.env),
      mounts: [...parts.mounts, ...spec.mounts],
      // Even when nothing of it is mounted: an agent of a world is started as a program of its own.
      world: parts.world ?? NO_MOUNTS,
    });
    return { sandbox, env: parts.env };
  } finally {
    parts.launched(sandbox);
  }
}
