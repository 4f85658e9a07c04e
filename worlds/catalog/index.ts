import { CloveError } from '../../errors/index.ts';
import type { WorldInput } from '../definition.ts';

/** Ready-made worlds by name; each in a folder of its own. */
const CATALOG: Readonly<Record<string, () => Promise<{ readonly default: WorldInput }>>> = {
  blank: () => import('./blank/world.ts'),
  'soc-lab': () => import('./soc-lab/world.ts'),
};

export const CATALOG_NAMES: readonly string[] = Object.keys(CATALOG);

/** @throws NOT_FOUND */
export async function catalogWorld(name: string): Promise<WorldInput> {
  const load = Object.hasOwn(CATALOG, name) ? CATALOG[name] : undefined;
  if (load === undefined) {
    throw new CloveError('NOT_FOUND', `no world "${name.slice(0, 64)}" in the catalogue`, {
      hint: `There are ${CATALOG_NAMES.join(', ')}.`,
    });
  }
  return (await load()).default;
}

/** What each of them is, for lists. */
export async function describeCatalog(): Promise<readonly { name: string; description: string }[]> {
  return Promise.all(
    CATALOG_NAMES.map(async (name) => ({ name, description: (await catalogWorld(name)).description ?? '' })),
  );
}
