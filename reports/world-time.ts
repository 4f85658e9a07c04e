/** What time was in the worlds of a run's fleets, and what thinking cost there. */
import type { FleetWorld, RunResults } from '../bench/types.ts';
import { fleetsOf } from './fleets.ts';
import { formatDuration, plural } from './text/format.ts';

const PRICES: Readonly<Record<string, string>> = {
  real: 'costs what it takes',
  free: 'costs nothing',
  recorded: 'costs what it took when it was recorded',
};

/** One sentence for each kind of world that the run had: without it no figure of time in a world says anything. */
export function worldTimes(results: RunResults): readonly string[] {
  const kinds = new Map<string, FleetWorld[]>();
  for (const { fleet } of fleetsOf(results))
    for (const world of fleet.activity?.worlds ?? []) {
      const kind = `${world.clock} ${world.llmTime}`;
      kinds.set(kind, [...(kinds.get(kind) ?? []), world]);
    }
  return [...kinds.values()].map(sentence);
}

function sentence(worlds: readonly FleetWorld[]): string {
  const { clock, llmTime } = worlds[0] as FleetWorld;
  const sum = (of: (world: FleetWorld) => number) => worlds.reduce((total, world) => total + of(world), 0);
  const calls = sum(({ modelCalls }) => modelCalls);
  const failed = sum(({ modelFailed }) => modelFailed);
  const asked =
    calls === 0
      ? 'none was made'
      : `${plural(calls, 'call')}${failed > 0 ? ` (${failed} failed)` : ''}, ${formatDuration(sum(({ modelChargedMs }) => modelChargedMs))} charged, ${formatDuration(sum(({ modelRealMs }) => modelRealMs))} on this machine`;
  return `World time: clock ${clock}; a model call ${PRICES[llmTime] ?? priceOf(llmTime)} (llm_time ${llmTime}): ${asked}.`;
}

function priceOf(llmTime: string): string {
  const [kind, amount = ''] = llmTime.split(':');
  return kind === 'fixed' ? `costs ${amount} ms` : `costs ${amount} µs a token`;
}
