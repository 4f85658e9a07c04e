import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CloveError } from '../../errors/index.ts';
import { createKernel } from '../kernel.ts';
import type { Divergence } from './agent-replay.ts';
import { Conductor, type RunReport } from './conductor.ts';
import { type LoadedRecording, loadRecording, type RecordedRun } from './load.ts';
import { outputHash, recordedCalls, recordedEnd } from './output-hash.ts';

const DEFAULT_STALL_MS = 10_000;
/** Agents replayed at the same time. */
const CONCURRENCY = 4;

export interface ReplayOptions {
  readonly file: string;
  /** Only these agents, by id or name. */
  readonly agents?: readonly (number | string)[];
  /** In place of recorded variables, such as secrets that were taken out. */
  readonly env?: Readonly<Record<string, string>>;
  /** How long an agent may take longer than in the recording to make its next call. */
  readonly stallMs?: number;
  /** Whether stdout must be as recorded. Default true. */
  readonly compareOutput?: boolean;
  readonly signal?: AbortSignal;
}

export interface ReplayReport {
  /** identical: all of it; partial: all that was replayed, but not every agent could be; diverged: stopped there. */
  readonly verdict: 'identical' | 'partial' | 'diverged';
  readonly recordingId: string;
  readonly runs: readonly RunReport[];
  readonly skipped: readonly { agent: number; name: string; incarnation: number; reason: string }[];
  readonly divergence: Divergence | null;
  /** Calls of operators: evidence, not replayed. */
  readonly operatorCalls: number;
  /** Of all that the replayed agents did, and of the same in the recording. */
  readonly outputHash: string;
  readonly recordedHash: string;
}

/**
 * Runs the agents of a recording again, under a kernel made for it which answers from the recording: nothing is executed,
 * written, sent or asked of the network. Stops all of them at the first divergence.
 * @throws DATA_CORRUPT, NOT_FOUND, DATA_MISSING, CANCELLED, SETUP_FAILED
 */
export async function replayRecording(options: ReplayOptions): Promise<ReplayReport> {
  const recording = await loadRecording(options.file);
  const chosen = recording.runs.filter((run) => isChosen(run, options.agents ?? []));
  const replayable = chosen.filter(({ incomplete }) => incomplete === null);
  if (replayable.length === 0) {
    const reasons = [...new Set(chosen.map(({ name, incomplete }) => `${name}: ${incomplete}`))];
    throw new CloveError('DATA_MISSING', 'the recording has no agent that can be replayed', {
      hint: reasons[0] ?? 'Start the recording first, then the agents.',
    });
  }
  const folder = mkdtempSync(path.join(tmpdir(), 'clove-replay-'));
  try {
    const running = await createKernel({
      socketPath: path.join(folder, 'clove.sock'),
      dataDirectory: path.join(folder, 'data'),
      logLevel: 'silent',
    });
    try {
      const conductor = new Conductor(running.kernel, recording.summary.header.redact_names, {
        env: options.env ?? {},
        stallMs: options.stallMs ?? DEFAULT_STALL_MS,
        compareOutput: options.compareOutput !== false,
      });
      await conduct(conductor, replayable, options.signal);
      return reportOf(recording, chosen, conductor);
    } finally {
      await running.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function conduct(
  conductor: Conductor,
  runs: readonly RecordedRun[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const onAbort = () => conductor.stop();
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  // Incarnations of one agent, and agents that had one name after another, come one after another.
  const lines = [...Map.groupBy(runs, ({ name }) => name).values()];
  const worker = async () => {
    for (let line = lines.shift(); line !== undefined; line = lines.shift()) {
      for (const run of line) if (!conductor.stopped) await conductor.run(run);
    }
  };
  try {
    const workers = Array.from({ length: Math.min(CONCURRENCY, lines.length) }, worker);
    const failed = (await Promise.allSettled(workers)).find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
  if (signal?.aborted) throw new CloveError('CANCELLED', 'the replay was cancelled');
}

function reportOf(
  recording: LoadedRecording,
  chosen: readonly RecordedRun[],
  conductor: Conductor,
): ReplayReport {
  const { divergence } = conductor;
  const reports = conductor.reports.toSorted((a, b) => a.agent - b.agent || a.incarnation - b.incarnation);
  const skipped = chosen.flatMap(({ agent, name, incarnation, incomplete }) =>
    incomplete === null ? [] : [{ agent, name, incarnation, reason: incomplete }],
  );
  const replayed = chosen.filter((run) =>
    reports.some(({ agent, incarnation }) => agent === run.agent && incarnation === run.incarnation),
  );
  const recorded = replayed.map((run) =>
    outputHash(recordedCalls(run), conductor.comparable(run) ? recordedEnd(run) : null),
  );
  return {
    verdict: divergence !== null ? 'diverged' : skipped.length > 0 ? 'partial' : 'identical',
    recordingId: recording.summary.id,
    runs: reports,
    skipped,
    divergence,
    operatorCalls: recording.operatorCalls.length,
    outputHash: joined(reports.map(({ outputHash: each }) => each)),
    recordedHash: joined(recorded),
  };
}

function joined(hashes: readonly string[]): string {
  return outputHash(
    hashes.map((each) => ({ opcode: 0, request: each, answer: null })),
    null,
  );
}

function isChosen({ agent, name }: RecordedRun, agents: readonly (number | string)[]): boolean {
  return agents.length === 0 || agents.includes(agent) || agents.includes(name);
}
