import { createHash } from 'node:crypto';
import { canonicalText } from './keying.ts';
import type { RecordedRun } from './load.ts';

export interface DoneCall {
  readonly opcode: number;
  readonly request: string;
  /** null = none was given to the agent. */
  readonly answer: string | null;
}

export interface RunEnd {
  readonly reason: string;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: string | null;
}

/**
 * One hash of what an incarnation did: its calls with their answers in the order they were first made, and, where it ended by
 * itself, how and with what output. The same agent in the same recording has the same hash on any machine, at any time.
 */
export function outputHash(calls: readonly DoneCall[], end: RunEnd | null): string {
  const hash = createHash('sha256');
  const add = (text: string) => hash.update(`${Buffer.byteLength(text)}\n`).update(text);
  for (const { opcode, request, answer } of calls) {
    add(`${opcode}`);
    add(canonicalText(request));
    add(answer === null ? '' : canonicalText(answer));
  }
  if (end !== null && end.reason === 'exited') {
    add(`${end.exitCode}`);
    add(end.stdout ?? '');
  }
  return hash.digest('hex');
}

/** What the agent of a recording did. */
export function recordedCalls(run: RecordedRun): DoneCall[] {
  return run.calls.map(({ opcode, request, answer, delivered }) => ({
    opcode,
    request,
    answer: delivered ? answer : null,
  }));
}

export function recordedEnd(run: RecordedRun): RunEnd | null {
  const { exit } = run;
  if (exit === null) return null;
  return { reason: exit.reason, exitCode: exit.exit_code, signal: exit.signal, stdout: exit.stdout };
}
