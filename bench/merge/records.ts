/** Puts the records of several runs of one grid together, as if one run had made them. Pure. */
import { CloveError } from '../../errors/index.ts';
import type { LayerReport } from '../../native/types.ts';
import { canonicalJson } from '../keys.ts';
import { metricAt } from '../metric.ts';
import { countedAttempts, mayTryAgain } from '../outcome.ts';
import type { HostCrash, RunDefinition, RunFacts, Segment } from '../store/schema.ts';
import type { RunRecords } from '../store/store.ts';
import type { Attempt, LoadSample, RuntimeName, Trial } from '../types.ts';

const NAMED = 10;

/** What must be the same in all parts: anything else is another experiment. */
const SAME: readonly (readonly [string, (definition: RunDefinition) => unknown])[] = [
  ['scenario', ({ scenario: { name, version } }) => [name, version]],
  ['seed', ({ seed }) => seed],
  ['runtimes', ({ runtimes }) => runtimes],
  ['faults', ({ faults }) => faults],
  ['limits', ({ limits }) => limits],
  ['attempts per trial', ({ maxAttempts }) => maxAttempts],
  ['coverage floor', ({ coverageFloor }) => coverageFloor],
  ['size', ({ scenarioOptions: { quick, size } }) => [quick, size]],
  ['settings', ({ scenarioOptions: { set } }) => set],
  ['resolved settings', ({ resolved }) => resolved],
  ['data', ({ provenance }) => provenance.map(({ name, sha256 }) => [name, sha256])],
];

/**
 * The records of a run that holds every trial of `parts`. Times of later parts are laid behind those of earlier ones, as those of the
 * sessions of a resumed run are.
 * @throws CONFLICT naming what differs, which trials have two outcomes, or that trials are missing
 */
export function mergeRecords(parts: readonly RunRecords[], runId: string): RunRecords {
  const [first] = parts;
  if (first === undefined || parts.length < 2)
    throw new CloveError('USAGE', 'a merge takes at least two runs');
  requireSame(parts);
  const trials = mergeTrials(parts);
  const { attempts, notices } = mergeAttempts(parts, trials);
  const moved = laidBehind(parts);
  const { shard: _, ...definition } = first.definition;
  const isComplete = first.definition.runtimes.every((runtime) => {
    const own = attempts.filter((attempt) => attempt.runtime === runtime);
    const byTrial = Map.groupBy(own, ({ trialId }) => trialId);
    return trials.every(({ id }) => !mayTryAgain(byTrial.get(id) ?? [], definition.maxAttempts));
  });
  return {
    definition: {
      ...definition,
      runId,
      startedAt: parts.map((part) => part.definition.startedAt).sort()[0] as string,
      command: definition.command.replace(/ --shard[= ]\S+/, ''),
    },
    facts: mergeFacts(parts, isComplete, notices),
    trials,
    attempts: attempts.map((attempt) => ({
      ...attempt,
      startedAtMs: attempt.startedAtMs + (moved.offsets.get(attempt) ?? 0),
    })),
    segments: moved.segments,
    hostCrashes: moved.hostCrashes,
    samples: moved.samples,
  };
}

function nameOf({ definition }: RunRecords): string {
  return definition.runId;
}

function requireSame(parts: readonly RunRecords[]): void {
  const [first, ...others] = parts as readonly [RunRecords, ...RunRecords[]];
  const ids = parts.map(nameOf);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) throw new CloveError('CONFLICT', `the run ${twice} is named twice`);
  for (const other of others)
    for (const [what, of] of SAME) {
      const [one, two] = [canonicalJson(of(first.definition)), canonicalJson(of(other.definition))];
      if (one !== two)
        throw new CloveError(
          'CONFLICT',
          `${nameOf(first)} and ${nameOf(other)} are not parts of one grid: their ${what} differ`,
          { hint: `${one.slice(0, 300)} against ${two.slice(0, 300)}` },
        );
    }
}

function mergeTrials(parts: readonly RunRecords[]): readonly Trial[] {
  const byId = new Map<string, Trial>();
  for (const part of parts)
    for (const trial of part.trials) {
      const known = byId.get(trial.id);
      if (known !== undefined && known.key !== trial.key)
        throw new CloveError('CONFLICT', `${trial.id} is another trial in ${nameOf(part)} than before`, {
          hint: 'The scenario or its data have changed between the runs.',
        });
      byId.set(trial.id, known ?? trial);
    }
  const total = Math.max(...parts.map(({ definition, trials }) => definition.shard?.trials ?? trials.length));
  if (byId.size < total)
    throw new CloveError('CONFLICT', `${total - byId.size} of ${total} trials are in none of these runs`, {
      hint: `There are the parts ${parts.map(({ definition: { shard } }) => (shard === undefined ? 'all' : `${shard.index}/${shard.count}`)).join(', ')}.`,
    });
  // Ids of a grid are numbers of one length.
  return [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** What makes two attempts the same: how they ended, and the figures that their scenario shows. */
function signature(
  { end, fault, exitCode, signal, error, result }: Attempt,
  paths: readonly string[],
): string {
  const figures = paths.map((path) => metricAt(result?.metrics ?? null, path));
  return JSON.stringify([end, fault, exitCode, signal, error?.code ?? null, figures]);
}

function mergeAttempts(
  parts: readonly RunRecords[],
  trials: readonly Trial[],
): { readonly attempts: readonly Attempt[]; readonly notices: readonly string[] } {
  const attempts: Attempt[] = [];
  const conflicts: string[] = [];
  let repeated = 0;
  let dropped = 0;
  const { presentation } = (parts[0] as RunRecords).definition;
  const paths = [presentation.primaryMetric, ...presentation.metrics].map(({ path }) => path);
  const byPart = parts.map((part) => Map.groupBy(part.attempts, keyOf));
  for (const runtime of (parts[0] as RunRecords).definition.runtimes)
    for (const { id } of trials) {
      const lists = byPart
        .map((grouped) => grouped.get(keyOf({ runtime, trialId: id })) ?? [])
        .filter((list) => list.length > 0);
      const counted = lists.filter((list) => countedAttempts(list).length > 0);
      // Of the same outcome, the one with the least in vain.
      const [longest] = counted.toSorted(
        (a, b) => countedAttempts(b).length - countedAttempts(a).length || a.length - b.length,
      );
      const taken = longest ?? lists[0] ?? [];
      const signatures = countedAttempts(taken).map((each) => signature(each, paths));
      if (
        counted.some((list) =>
          countedAttempts(list).some((each, at) => signature(each, paths) !== signatures[at]),
        )
      )
        conflicts.push(`${id} under ${runtime}`);
      if (counted.length > 1) repeated += 1;
      dropped += lists
        .filter((list) => list !== taken)
        .flat()
        .filter(({ end }) => end === 'interrupted').length;
      attempts.push(...taken);
    }
  if (conflicts.length > 0)
    throw new CloveError('CONFLICT', `${conflicts.length} trials have different outcomes in these runs`, {
      hint: `${conflicts.slice(0, NAMED).join(', ')}${conflicts.length > NAMED ? ' …' : ''}. Leave out the run that should not count.`,
      details: { trials: conflicts.slice(0, 1000) },
    });
  return {
    attempts,
    notices: [
      ...(repeated === 0
        ? []
        : [
            `${repeated} outcomes are in several of the merged runs, and the same in all; one of each counts.`,
          ]),
      ...(dropped === 0
        ? []
        : [`${dropped} interrupted attempts are left out that another of the merged runs went on with.`]),
    ],
  };
}

function keyOf({ runtime, trialId }: { readonly runtime: RuntimeName; readonly trialId: string }): string {
  return `${runtime}\n${trialId}`;
}

/** Everything with a time, part behind part. */
function laidBehind(parts: readonly RunRecords[]): {
  readonly offsets: ReadonlyMap<Attempt, number>;
  readonly segments: readonly Segment[];
  readonly samples: readonly LoadSample[];
  readonly hostCrashes: readonly HostCrash[];
} {
  const offsets = new Map<Attempt, number>();
  const segments: Segment[] = [];
  const samples: LoadSample[] = [];
  const hostCrashes: HostCrash[] = [];
  let offset = 0;
  for (const part of parts) {
    const at = offset;
    for (const attempt of part.attempts) offsets.set(attempt, at);
    segments.push(
      ...part.segments.map((each) => ({
        ...each,
        startedAtMs: each.startedAtMs + at,
        lastMs: each.lastMs + at,
      })),
    );
    samples.push(...part.samples.map((each) => ({ ...each, atMs: each.atMs + at })));
    hostCrashes.push(...part.hostCrashes.map((each) => ({ ...each, atMs: each.atMs + at })));
    offset =
      at +
      [
        ...part.segments.map(({ lastMs }) => lastMs),
        ...part.samples.map(({ atMs }) => atMs),
        ...part.attempts.map(({ startedAtMs, usage }) => startedAtMs + usage.wallMs),
      ].reduce((latest, ms) => Math.max(latest, ms), 0);
  }
  return { offsets, segments, samples, hostCrashes };
}

function mergeFacts(parts: readonly RunRecords[], isComplete: boolean, more: readonly string[]): RunFacts {
  const [first] = parts as readonly [RunRecords];
  const boots: Partial<Record<RuntimeName, number>> = {};
  for (const { facts } of parts)
    for (const [runtime, ms] of Object.entries(facts.boots) as [RuntimeName, number][])
      boots[runtime] = (boots[runtime] ?? 0) + ms;
  const preparations = parts.flatMap(({ facts }) => facts.preparations);
  const isolations = parts.map(({ facts }) => facts.isolation).filter((layers) => layers.length > 0);
  const weakest = isolations.toSorted((a, b) => strength(a) - strength(b))[0] ?? [];
  const others = new Set(parts.map(({ definition: { machine } }) => machine.hostnameHash));
  return {
    preparations: preparations.filter(
      ({ key }, index) => preparations.findIndex((each) => each.key === key) === index,
    ),
    isolation: weakest,
    notices: [
      ...new Set([
        ...parts.flatMap(({ facts }) => facts.notices),
        `Merged from ${parts.map(nameOf).join(', ')}; their times are laid one behind the other.`,
        ...(others.size > 1
          ? [
              `The merged runs were made on ${others.size} machines; ${nameOf(first)}'s is described. Times of different machines do not compare.`,
            ]
          : []),
        ...(isolations.some((layers) => strength(layers) !== strength(weakest))
          ? ['The merged runs were not equally isolated; the weakest is described.']
          : []),
        ...more,
      ]),
    ],
    boots,
    status: isComplete ? 'complete' : 'interrupted',
    finishedAt:
      parts
        .flatMap(({ facts }) => facts.finishedAt ?? [])
        .sort()
        .at(-1) ?? null,
  };
}

function strength(layers: readonly LayerReport[]): number {
  return layers.filter(({ state }) => state === 'on').length;
}
