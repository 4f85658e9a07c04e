import { WALLS } from '../../kernel/agents/isolation.ts';
import type { UserKernelOptions } from '../../kernel/index.ts';
import { isMissing } from '../../native/missing.ts';
import type { Layer, LayerReport } from '../../native/types.ts';

/**
 * `full`: a trial runs only with every layer. `reduced`: the walls must stand; users and limits of their own may be missing where this
 * machine gives them to nobody but root, and the run says so. `least`: the walls may be missing too, as in a container.
 */
export const ISOLATION_STRENGTHS = ['full', 'reduced', 'least'] as const;
export type IsolationStrength = (typeof ISOLATION_STRENGTHS)[number];

export function sandboxingOf(strength: IsolationStrength): NonNullable<UserKernelOptions['sandbox']> {
  return strength === 'full' ? 'required' : strength;
}

/** What a request of a bench adds to its limits. */
export interface Allowance {
  readonly isolation?: { readonly allow_degraded: Layer[] };
}

/** Below `full` the limits of trials may be missing, which the run says. Others who name a limit rely on it. */
export function allowanceOf(strength: IsolationStrength): Allowance {
  if (strength === 'full') return {};
  return { isolation: { allow_degraded: ['mem', 'swap', 'cpu', 'cpuset', 'pids'] } };
}

const WHAT: Readonly<Partial<Record<Layer, string>>> = {
  uid: 'users of their own',
  mem: 'limits of memory',
  swap: 'limits of swap',
  cpu: 'limits of CPU',
  pids: 'limits of processes',
  freeze: 'freezing',
  mntns: 'root apart from that of the host (theirs lies over it)',
};

/** What trials went without, in a sentence; null = nothing was missing. */
export function reducedNotice(layers: readonly LayerReport[]): string | null {
  const missing = layers.filter(isMissing);
  if (missing.length === 0) return null;
  const list = new Intl.ListFormat('en').format(missing.map(({ layer }) => WHAT[layer] ?? layer));
  if (missing.some(({ layer, state }) => WALLS.includes(layer) && state === 'off'))
    return `Walls are missing: agents share this host with each other and with its users. Not to be had here: ${list}. \`clove doctor\` tells what to do; --require reduced refuses to run so.`;
  return `Isolation is reduced: the walls stand, but sandboxes have no ${list} here. \`clove doctor\` tells what to do; --require full refuses to run so.`;
}
