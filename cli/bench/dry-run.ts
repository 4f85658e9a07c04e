import type { DryRun, Estimate } from '../../bench/dry-run.ts';
import type { CliContext } from '../context.ts';
import { escapeLine } from '../ui/escape.ts';
import { formatDuration, plural } from '../ui/format.ts';
import { type Column, renderTable } from '../ui/table.ts';

const TRIALS_SHOWN = 60;

/** What `bench run --dry-run` answers. */
export function printDryRun({ json, terminal }: CliContext, plan: DryRun): void {
  if (json) {
    terminal.out(JSON.stringify(plan));
    return;
  }
  terminal.out(terminal.style('bold', escapeLine(plan.scenario.title)));
  terminal.out(renderTable(columnsOf(plan), plan.trials.slice(0, TRIALS_SHOWN)));
  const more = plan.trials.length - TRIALS_SHOWN;
  if (more > 0) terminal.out(`… and ${more} more (--json has all)`);
  terminal.out('');
  for (const [name, text] of factsOf(plan)) terminal.out(`${`${name}:`.padEnd(11)} ${escapeLine(text)}`);
  for (const notice of plan.notices) terminal.out(`note: ${escapeLine(notice)}`);
  terminal.out('\nNothing was run and nothing was made.');
}

type Row = DryRun['trials'][number];

function columnsOf({ trials }: DryRun): Column<Row>[] {
  const names = [...new Set(trials.flatMap(({ params }) => Object.keys(params)))];
  return [
    { title: 'trial', value: ({ id }) => id },
    ...names.map((name) => ({
      title: escapeLine(name),
      value: ({ params }: Row) => escapeLine(String(params[name] ?? '–')),
    })),
    ...(names.includes('seed') ? [] : [{ title: 'seed', value: ({ seed }: Row) => String(seed) }]),
  ];
}

function factsOf(plan: DryRun): [string, string][] {
  const { runtimes, shard, trials, data, prepare } = plan;
  const part = shard === null ? '' : ` (part ${shard.index}/${shard.count} of ${shard.trials})`;
  const missing = prepare.filter(({ cached }) => !cached);
  const faults = Object.entries(plan.faults).filter(([, probability]) => probability > 0);
  return [
    [
      'trials',
      `${trials.length}${part}${runtimes.length > 1 ? ` on each of ${runtimes.length} runtimes` : ''}, at most ${plural(plan.maxAttempts, 'attempt')} of ${formatDuration(plan.timeoutMs)} each, seed ${plan.seed}`,
    ],
    [
      'runtimes',
      `${runtimes.join(', ')}${runtimes.length > 1 ? `, in ${plural(plan.blocks, 'turn')} each` : ''}${runtimes.includes('clove') ? `; isolation: ${plan.isolation}` : ''}`,
    ],
    [
      'parallel',
      `${plan.parallel}${plan.adaptive ? ', fewer while others keep the machine busy' : ''}${runtimes.includes('sequential') ? '; sequential: 1' : ''}`,
    ],
    ...data.map(({ name, kind, source }): [string, string] => [
      'data',
      `${name}${name.includes(kind) ? '' : ` (${kind})`}: ${source}`,
    ]),
    ...(prepare.length === 0
      ? []
      : [
          [
            'inputs',
            `${plural(prepare.length, 'input')}, ${missing.length === 0 ? 'all prepared' : `to prepare: ${missing.map(({ name }) => name).join(', ')}`}`,
          ] satisfies [string, string],
        ]),
    ...missing.flatMap(({ announcement }): [string, string][] =>
      announcement === null ? [] : [['', announcement]],
    ),
    [
      'faults',
      faults.length === 0
        ? 'none'
        : faults
            .map(([kind, probability]) => `${kind} ${probability}`)
            .join(', ')
            .concat(' per attempt'),
    ],
    ['time', timeText(plan)],
    ['folder', plan.runDirForm],
  ];
}

function timeText({ estimates, estimatedWallMs, trials }: DryRun): string {
  const unknown = estimates.filter(({ wallMs }) => wallMs === null);
  if (unknown.length === estimates.length)
    return 'not known: no complete run of this scenario is in the store';
  const parts = estimates.map((each) => partText(each, trials.length));
  if (estimates.length === 1) return `about ${parts[0]}`;
  const total = estimatedWallMs === null ? '' : `about ${formatDuration(estimatedWallMs)}: `;
  return `${total}${estimates.map(({ runtime }, index) => `${runtime} ${parts[index]}`).join('; ')}`;
}

function partText({ wallMs, fromRun, knownTrials }: Estimate, trials: number): string {
  if (wallMs === null) return 'not known';
  const basis = knownTrials === trials ? 'the same trials' : `${knownTrials} of these trials`;
  return `${formatDuration(wallMs)}, going by ${fromRun} (${basis})`;
}
