import { hostCapabilities } from '../../native/index.ts';
import type { HostCapabilities, Layer, UnavailableLayer } from '../../native/types.ts';

/** What stands in a namespace, or is one. */
export const OF_NAMESPACES: readonly Layer[] = [
  'pidns',
  'mntns',
  'netns',
  'ipcns',
  'utsns',
  'cgroupns',
  'root_ro',
  'proc_masked',
  'dev_min',
  'sys_hidden',
  'disk',
  'inodes',
];

/** Layers that no sandbox on such a machine can have, and why: what holds for all of them, known before one is made. */
export function layersMissingOn(
  host: Pick<HostCapabilities, 'namespaces' | 'namespacesErrno'>,
): ReadonlyMap<Layer, UnavailableLayer> {
  if (host.namespaces !== 'none') return new Map();
  const { namespacesErrno: errno } = host;
  const how = `namespaces are refused here: clone: ${errno ?? 'no reason given'}`;
  return new Map(OF_NAMESPACES.map((layer) => [layer, { how, errno }]));
}

let here: ReadonlyMap<Layer, UnavailableLayer> | null = null;

/** Of this machine; it does not change under a running process. */
export function layersNotHere(): ReadonlyMap<Layer, UnavailableLayer> {
  here ??= layersMissingOn(hostCapabilities());
  return here;
}
