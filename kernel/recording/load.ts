import type { CallEntry, ExitEntry, ProcessEntry } from './format.ts';
import { type RecordingSummary, readRecording } from './reader.ts';

/** One incarnation of an agent, from its start to its end, or to that of the recording. */
export interface RecordedRun {
  readonly agent: number;
  readonly incarnation: number;
  readonly name: string;
  readonly process: ProcessEntry | null;
  /** In the order they began. */
  readonly calls: readonly CallEntry[];
  readonly exit: ExitEntry | null;
  /** Why it cannot be replayed; null = it can. */
  readonly incomplete: string | null;
}

export interface LoadedRecording {
  readonly summary: RecordingSummary;
  /** By agent and incarnation. */
  readonly runs: readonly RecordedRun[];
  /** Of operators and of agents behind a relay: evidence, never replayed. */
  readonly operatorCalls: readonly CallEntry[];
}

interface Growing {
  process: ProcessEntry | null;
  exit: ExitEntry | null;
  readonly calls: CallEntry[];
}

/** A whole recording, checked. @throws as readRecording */
export async function loadRecording(file: string): Promise<LoadedRecording> {
  const growing = new Map<string, Growing>();
  const operatorCalls: CallEntry[] = [];
  const lossy = new Set<number>();
  let allLossy = false;
  const of = (agent: number, incarnation: number): Growing =>
    growing.getOrInsertComputed(`${agent}.${incarnation}`, () => ({ process: null, exit: null, calls: [] }));
  const entries = readRecording(file);
  let step = await entries.next();
  for (; step.done !== true; step = await entries.next()) {
    const entry = step.value;
    if (entry.type === 'process') of(entry.agent, entry.incarnation).process = entry;
    else if (entry.type === 'exit') of(entry.agent, entry.incarnation).exit = entry;
    else if (entry.type === 'gap') {
      allLossy ||= entry.agents === null;
      for (const agent of entry.agents ?? []) lossy.add(agent);
    } else if (entry.type === 'call') {
      if (entry.caller !== 'agent') operatorCalls.push(entry);
      else of(entry.agent, entry.incarnation).calls.push(entry);
    }
  }
  const runs = [...growing].map(([name, run]) =>
    finished(name, run, (agent) => allLossy || lossy.has(agent)),
  );
  runs.sort((a, b) => a.agent - b.agent || a.incarnation - b.incarnation);
  return { summary: step.value, runs, operatorCalls };
}

function finished(
  id: string,
  { process, exit, calls }: Growing,
  isLossy: (agent: number) => boolean,
): RecordedRun {
  const [agent = 0, incarnation = 0] = id.split('.').map(Number);
  calls.sort((a, b) => a.begun - b.begun);
  let incomplete: string | null = null;
  if (isLossy(agent)) incomplete = 'calls of it are missing: the recording has a gap';
  else if (process === null) incomplete = 'how it was started is not in the recording';
  else if (!process.from_start) incomplete = 'it ran already when the recording began';
  else if (process.request === null) incomplete = 'what it was started from was not known';
  return { agent, incarnation, name: process?.name ?? `agent_${agent}`, process, calls, exit, incomplete };
}
