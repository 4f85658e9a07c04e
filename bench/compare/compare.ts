import { CloveError } from '../../errors/index.ts';
import { Luck } from '../../worlds/index.ts';
import { holm } from '../statistics/exact.ts';
import { differencesOf, judge, measureChange, type RawChange } from './change.ts';
import { applyRule, parseRules } from './gate.ts';
import { coverageOf, type Pair, pairTrials } from './pairs.ts';
import type {
  Comparison,
  ComparisonSide,
  GateOutcome,
  Measured,
  MetricDefinition,
  TrialChange,
} from './types.ts';

export interface CompareOptions {
  /** "auc:-0.01,wall:+10%"; null = no gate. */
  readonly failOn: string | null;
  /** Share of trials that both sides must have measured. */
  readonly coverageFloor: number;
  /** Of the intervals, and 1 − the significance level. */
  readonly level: number;
  /** Of the resampling: the same seed gives the same figures. */
  readonly seed: number;
  /** Judge timings although the machines differ. */
  readonly acrossMachines: boolean;
}

export const DEFAULT_COMPARE: CompareOptions = {
  failOn: null,
  coverageFloor: 0.9,
  level: 0.95,
  seed: 42,
  acrossMachines: false,
};

const MOVERS_SHOWN = 20;

/** Two sides of the same scenario, trial by trial. Throws USAGE when they have nothing to do with each other. */
export function compare(before: Measured, after: Measured, options: CompareOptions): Comparison {
  if (before.scenario.name !== after.scenario.name)
    throw new CloveError(
      'USAGE',
      `${before.label} ran ${before.scenario.name}, ${after.label} ran ${after.scenario.name}: there is nothing to compare`,
    );
  const metrics = commonMetrics(before, after);
  const rules = options.failOn === null ? [] : parseRules(options.failOn, metrics);
  const pairs = pairTrials(before, after);
  const coverage = coverageOf(before, after, pairs);
  const tooFew =
    coverage < options.coverageFloor
      ? `Only ${percent(coverage)} of the trials were measured on both sides; ${percent(options.coverageFloor)} are needed.`
      : null;
  const otherMachine =
    !options.acrossMachines && differentMachines(before, after)
      ? 'The two ran on different machines: timings and memory do not compare.'
      : null;
  const wanted = options.coverageFloor * Math.max(before.trials.length, after.trials.length);
  const ruled = new Set(rules.map(({ metric }) => metric));
  // Trials that failed are measured and yet have no figure: what is left of them says little about the rest.
  const survivors = ({ metric, pairs: found }: RawChange) =>
    ruled.has(metric.name) && found < wanted ? `Only ${found} trials have this figure on both sides.` : null;
  const blocked = (change: RawChange) =>
    tooFew ?? (change.metric.machineBound ? otherMachine : null) ?? survivors(change);

  const luck = new Luck(options.seed);
  const raw = metrics.map((metric) =>
    measureChange(
      pairs,
      metric,
      noiseOf(before, after, metric.name),
      rules.find((rule) => rule.metric === metric.name)?.threshold ?? null,
      options.level,
      luck.stream(`compare/${metric.name}`),
    ),
  );
  // Only what is judged takes part in the correction: a blocked metric must not cost the others power. Figures with a rule are a family
  // of their own: what a gate hangs on must not be drowned by what is only looked at.
  const corrected = new Map<RawChange, number>();
  for (const isRuled of [true, false]) {
    const family = raw.filter(
      (change) =>
        change.pValue !== null && blocked(change) === null && ruled.has(change.metric.name) === isRuled,
    );
    holm(family.map(({ pValue }) => pValue as number)).forEach((p, index) => {
      corrected.set(family[index] as RawChange, p);
    });
  }
  const changes = raw.map((change) =>
    judge(change, corrected.get(change) ?? null, options.level, blocked(change)),
  );
  const gates = rules.flatMap((rule) => {
    const change = changes.find(({ metric }) => metric.name === rule.metric);
    return change === undefined ? [] : [applyRule(rule, change, blocked(change))];
  });
  const notices: string[] = [];
  if (tooFew !== null) notices.push(tooFew);
  if (otherMachine !== null) notices.push(`${otherMachine} --across-machines judges them all the same.`);
  if (before.scenario.version !== after.scenario.version)
    notices.push(
      `The scenario's version changed from ${before.scenario.version} to ${after.scenario.version}; trials were paired by parameters and seed.`,
    );
  if (Object.keys(before.noise).length === 0 && Object.keys(after.noise).length === 0)
    notices.push(
      'No noise floor is known: what two runs of the same thing differ by was not measured. clove bench baseline A A2 stores one.',
    );
  return {
    schemaVersion: 1,
    scenario: before.scenario.name,
    before: sideOf(before),
    after: sideOf(after),
    coverage,
    coverageFloor: options.coverageFloor,
    level: options.level,
    seed: options.seed,
    changes,
    movers: moversOf(pairs, metrics),
    gates,
    outcome: outcomeOf(
      gates.map(({ outcome }) => outcome),
      tooFew !== null,
    ),
    notices,
  };
}

function outcomeOf(gates: readonly GateOutcome[], tooFew: boolean): GateOutcome {
  if (gates.includes('fail')) return 'fail';
  return tooFew || gates.includes('inconclusive') ? 'inconclusive' : 'pass';
}

function commonMetrics(before: Measured, after: Measured): MetricDefinition[] {
  const there = new Set(before.metrics.map(({ name }) => name));
  return after.metrics.filter(({ name }) => there.has(name));
}

/** A baseline brings its noise floor; when both sides have one, the larger is the honest one. */
function noiseOf(before: Measured, after: Measured, name: string) {
  const known = [before.noise[name], after.noise[name]].filter((noise) => noise !== undefined);
  return known.sort((a, b) => b.effect - a.effect)[0];
}

function differentMachines({ machine: a }: Measured, { machine: b }: Measured): boolean {
  return a.cpuModel !== b.cpuModel || a.cores !== b.cores || a.hostnameHash !== b.hostnameHash;
}

function sideOf(side: Measured): ComparisonSide {
  return {
    label: side.label,
    runIds: side.runIds,
    runtime: side.runtime,
    startedAt: side.startedAt,
    version: side.scenario.version,
    trials: side.trials.length,
    measured: side.trials.filter(({ status }) => status !== 'not_measured').length,
  };
}

/** Trials that no longer complete come first, then those whose leading metric moved most, worst first. */
function moversOf(pairs: readonly Pair[], metrics: readonly MetricDefinition[]): TrialChange[] {
  return metrics
    .filter(({ scale }) => scale !== 'ratio')
    .slice(0, 2)
    .flatMap((metric) => {
      const moved = pairs.flatMap((pair) => {
        const [difference] = differencesOf([pair], metric).differences;
        return difference === undefined || difference === 0
          ? []
          : [{ pair, worseBy: metric.higherIsBetter ? -difference : difference }];
      });
      return moved
        .sort((a, b) => b.worseBy - a.worseBy)
        .slice(0, MOVERS_SHOWN)
        .map(({ pair }) => ({
          id: pair.after.id,
          params: pair.after.params,
          metric: metric.name,
          before: pair.before.values[metric.name] as number,
          after: pair.after.values[metric.name] as number,
        }));
    });
}

function percent(fraction: number): string {
  return `${Math.floor(fraction * 1000) / 10} %`;
}
