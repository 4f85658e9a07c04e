import type { CallEntry } from './format.ts';
import { type Difference, diffTexts } from './json-diff.ts';
import { canonicalText } from './keying.ts';
import { loadRecording, type RecordedRun } from './load.ts';

/** Where two recordings of the same agents part. */
export interface RecordingDifference {
  readonly name: string;
  readonly incarnation: number;
  readonly kind: 'agent' | 'call' | 'answer' | 'end';
  readonly message: string;
  /** Entries of the first and of the second recording; null = there is none. */
  readonly entries: readonly [number | null, number | null];
  readonly differences: readonly Difference[];
}

export interface RecordingDiff {
  readonly ids: readonly [string, string];
  readonly identical: boolean;
  /** The first of each agent: what follows rests on it. */
  readonly differences: readonly RecordingDifference[];
}

/** Compares two recordings agent by agent and call by call: what was asked, what was answered, how it ended. @throws as readRecording */
export async function diffRecordings(first: string, second: string): Promise<RecordingDiff> {
  const [a, b] = [await loadRecording(first), await loadRecording(second)];
  const [runsOfA, runsOfB] = [byName(a.runs), byName(b.runs)];
  const differences: RecordingDifference[] = [];
  for (const name of new Set([...runsOfA.keys(), ...runsOfB.keys()])) {
    const difference = diffRuns(name, runsOfA.get(name), runsOfB.get(name));
    if (difference !== null) differences.push(difference);
  }
  return { ids: [a.summary.id, b.summary.id], identical: differences.length === 0, differences };
}

/** Ids differ from kernel to kernel; names and their order do not. */
function byName(runs: readonly RecordedRun[]): Map<string, RecordedRun> {
  const found = new Map<string, RecordedRun>();
  const counts = new Map<string, number>();
  for (const run of runs) {
    const count = counts.get(run.name) ?? 0;
    counts.set(run.name, count + 1);
    found.set(`${run.name}#${count}`, run);
  }
  return found;
}

function diffRuns(
  label: string,
  a: RecordedRun | undefined,
  b: RecordedRun | undefined,
): RecordingDifference | null {
  const run = a ?? b;
  if (run === undefined) return null;
  const at = { name: run.name, incarnation: run.incarnation };
  if (a === undefined || b === undefined) {
    const where = a === undefined ? 'second' : 'first';
    return {
      ...at,
      kind: 'agent',
      message: `${label} is only in the ${where} recording`,
      entries: [null, null],
      differences: [],
    };
  }
  const length = Math.max(a.calls.length, b.calls.length);
  for (let index = 0; index < length; index += 1) {
    const difference = diffCalls(index, a.calls[index], b.calls[index]);
    if (difference !== null) return { ...at, ...difference };
  }
  const [endOfA, endOfB] = [endText(a), endText(b)];
  if (endOfA === endOfB) return null;
  return {
    ...at,
    kind: 'end',
    message: 'it ended otherwise',
    entries: [a.exit?.seq ?? null, b.exit?.seq ?? null],
    differences: diffTexts(endOfA, endOfB),
  };
}

function diffCalls(
  index: number,
  a: CallEntry | undefined,
  b: CallEntry | undefined,
): Omit<RecordingDifference, 'name' | 'incarnation'> | null {
  const entries = [a?.seq ?? null, b?.seq ?? null] as const;
  if (a === undefined || b === undefined) {
    const [call, where] = a === undefined ? [b, 'second'] : [a, 'first'];
    const message = `call ${index + 1} (${call?.syscall}) is only in the ${where} recording`;
    return { kind: 'call', message, entries, differences: [] };
  }
  if (a.key !== b.key) {
    const message =
      a.opcode === b.opcode
        ? `call ${index + 1} (${a.syscall}) asks otherwise`
        : `call ${index + 1} is ${a.syscall} in the first and ${b.syscall} in the second`;
    return { kind: 'call', message, entries, differences: diffTexts(a.request, b.request) };
  }
  if (canonicalText(a.answer ?? '') === canonicalText(b.answer ?? '')) return null;
  const message = `call ${index + 1} (${a.syscall}) was answered otherwise`;
  return { kind: 'answer', message, entries, differences: diffTexts(a.answer ?? '', b.answer ?? '') };
}

function endText({ exit }: RecordedRun): string {
  if (exit === null) return '{}';
  const { reason, exit_code, signal, stdout } = exit;
  return JSON.stringify({ reason, exit_code, signal, stdout });
}
