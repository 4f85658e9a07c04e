import { CloveError } from '../../errors/index.ts';
import type { WorldInput } from '../definition.ts';

/** A ready-made world: as it is, or made of a seed where what happens in it is drawn. */
export type CatalogWorld = WorldInput | ((seed: number) => WorldInput);

/** By name; each in a folder of its own. */
const CATALOG: Readonly<Record<string, () => Promise<{ readonly default: CatalogWorld }>>> = {
  blank: () => import('./blank/world.ts'),
  'e-commerce': () => import('./e-commerce/world.ts'),
  'soc-lab': () => import('./soc-lab/world.ts'),
  'soc-shift': () => import('./soc-shift/world.ts'),
  'sre-outage': () => import('./sre-outage/world.ts'),
  'research-library': () => import('./research-library/world.ts'),
  'coding-project': () => import('./coding-project/world.ts'),
  'trading-desk': () => import('./trading-desk/world.ts'),
};

export const CATALOG_NAMES: readonly string[] = Object.keys(CATALOG);

/** @throws NOT_FOUND */
export async function catalogWorld(name: string, seed: number | null = null): Promise<WorldInput> {
  const load = Object.hasOwn(CATALOG, name) ? CATALOG[name] : undefined;
  if (load === undefined) {
    throw new CloveError('NOT_FOUND', `no world "${name.slice(0, 64)}" in the catalogue`, {
      hint: `There are ${CATALOG_NAMES.join(', ')}.`,
    });
  }
  const { default: world } = await load();
  return typeof world === 'function' ? world(seed ?? 1) : world;
}

/** What each of them is, for lists. */
export async function describeCatalog(): Promise<readonly { name: string; description: string }[]> {
  return Promise.all(
    CATALOG_NAMES.map(async (name) => ({ name, description: (await catalogWorld(name)).description ?? '' })),
  );
}
