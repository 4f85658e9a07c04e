/** The network of a world: what its agents reach, and what goes wrong on the way. */
export { currentCaller } from './exchange.ts';
export type { Har } from './har.ts';
export {
  faultSchema,
  type NetworkConfig,
  type NetworkInput,
  networkSchema,
  type ServicesConfig,
  servicesSchema,
} from './schema.ts';
export { defineService, type ServiceCall, type ServiceDefinition } from './service.ts';
export * from './types.ts';
export { createVirtualNetwork, type NetworkSurroundings } from './virtual.ts';
