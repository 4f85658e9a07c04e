/** Fleets of agents as a file declares them. */
export { actualOf, type Converged, converge, drift, nameOf, type Progress, takeDown } from './converge.ts';
export { DEFAULT_FILES, type FleetDefinition, loadFleet, parseFleet } from './definition.ts';
export { type Action, isAlive, isOfFleet, type Listed, planFleet } from './plan.ts';
export { type DesiredAgent, LABELS } from './request.ts';
export { type Problem, problemText } from './source.ts';
export { watchFiles } from './watch.ts';
