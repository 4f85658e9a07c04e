/** The shop's platform: who calls whom, and what is normal. */

export interface Component {
  readonly name: string;
  readonly dependsOn: readonly string[];
  /** 95th percentile of its own work, ms. */
  readonly baseMs: number;
  readonly baseRps: number;
  /** Most connections to the database; null = it has none. */
  readonly pool: number | null;
  /** Of somebody else: it cannot be restarted or changed. */
  readonly isExternal?: true;
}

/** Dependencies before those that depend on them: a step is worked out in this order. */
export const COMPONENTS = [
  { name: 'resolver', dependsOn: [], baseMs: 1, baseRps: 400, pool: null },
  { name: 'database', dependsOn: [], baseMs: 6, baseRps: 260, pool: null },
  { name: 'cache', dependsOn: [], baseMs: 2, baseRps: 300, pool: null },
  { name: 'queue', dependsOn: [], baseMs: 3, baseRps: 30, pool: null },
  { name: 'acquirer', dependsOn: [], baseMs: 110, baseRps: 12, pool: null, isExternal: true },
  { name: 'fulfilment', dependsOn: ['queue', 'database'], baseMs: 45, baseRps: 12, pool: 20 },
  { name: 'payments', dependsOn: ['acquirer'], baseMs: 40, baseRps: 12, pool: null },
  { name: 'orders', dependsOn: ['database', 'queue'], baseMs: 30, baseRps: 14, pool: 40 },
  { name: 'catalogue', dependsOn: ['cache', 'database'], baseMs: 25, baseRps: 120, pool: 40 },
  { name: 'checkout', dependsOn: ['orders', 'payments'], baseMs: 35, baseRps: 14, pool: null },
  { name: 'edge', dependsOn: ['checkout', 'catalogue'], baseMs: 12, baseRps: 150, pool: null },
] as const satisfies readonly Component[];

export type ComponentName = (typeof COMPONENTS)[number]['name'];

export function isComponent(name: unknown): name is ComponentName {
  return COMPONENTS.some((component) => component.name === name);
}

export function componentOf(name: ComponentName): Component {
  return COMPONENTS.find((component) => component.name === name) as Component;
}

/** What a request of a customer needs: half of what happens in the shop is looking around, the money is in buying. */
export const JOURNEYS = { buy: 'checkout', browse: 'catalogue' } as const;
export const PURCHASES_PER_SECOND = 2;
export const CENTS_PER_PURCHASE = 4200;

/** What the shop promises: of every ten seconds. */
export const OBJECTIVE = { availability: 0.98, p95Ms: 800 } as const;
