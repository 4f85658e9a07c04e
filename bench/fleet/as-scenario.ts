/** A scenario of fleets as the bench runs it: its variants and seeds are the trials of a grid. */
import { CloveError } from '../../errors/index.ts';
import { Luck } from '../../worlds/luck/streams.ts';
import { type Cell, expandGrid, makeTrials, widenCells } from '../grid.ts';
import type { Scenario, ScenarioOptions } from '../scenario.ts';
import { validateFleet } from './definition.ts';
import { agentCount } from './spawn.ts';
import type { FleetScenario } from './types.ts';

/** @throws CONFIG when the definition does not make sense */
export function fleetAsScenario(definition: FleetScenario): Scenario {
  validateFleet(definition);
  const { name, title, description, version, budgets, metrics, settings } = definition;
  const [primary] = metrics;
  if (primary === undefined) throw new CloveError('CONFIG', `${name}: it names no metric`);
  const axes = Object.keys(definition.variants ?? {});
  return {
    name,
    title,
    description,
    version,
    // Never loaded: a fleet's agents are programs of their own.
    worker: new URL(import.meta.url),
    fleet: definition,
    limits: {
      memoryBytes: budgets.memoryBytes,
      cpu: 1,
      maxPids: 64 * agentCount(definition),
      timeoutMs: budgets.wallMs,
    },
    presentation: {
      primaryMetric: { path: primary.path, label: primary.label, higherIsBetter: primary.higherIsBetter },
      metrics: metrics.map(({ path, label, format, higherIsBetter }) => ({
        path,
        label,
        format,
        higherIsBetter,
      })),
      heatmap: { rows: axes.slice(0, 1), columns: axes.slice(1, 2), facet: null },
      parameterLabels: {},
    },
    settings: settings ?? {},
    async plan(options) {
      const cells = cellsOf(definition, options);
      return {
        prepare: [],
        trials: () => makeTrials(cells, () => ({ scenario: name, version })),
        provenance: () => [],
        notices: [],
        readOnlyPaths: [],
        resolved: { ...options.set, agents: agentCount(definition), quick: options.quick },
      };
    },
  };
}

function cellsOf(definition: FleetScenario, options: ScenarioOptions): Cell[] {
  const rows = expandGrid(definition.variants ?? {});
  const wanted = options.quick ? rows.slice(0, 1) : rows;
  const luck = new Luck(options.seed);
  const cell = (params: Cell['params'], round: number): Cell => {
    const seed = round === 0 ? options.seed : luck.derive(`fleet/${round}`);
    return { params: { ...params, ...options.set, seed }, seed, costEstimate: 1, input: {} };
  };
  const first = wanted.map((params) => cell(params, 0));
  const size = options.size ?? first.length * (options.quick ? 1 : (definition.seeds ?? 1));
  return widenCells(first, size, ({ params }, round) => cell(params, round));
}
