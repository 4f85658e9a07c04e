/** How an attempt in a shared host process ended, and whose doing it was. */
import type { ChildProcess } from 'node:child_process';
import { CloveError, type ErrorData } from '../../errors/index.ts';
import type { AttemptEnd } from '../types.ts';
import type { FromHost } from '../worker/host-messages.ts';
import type { AttemptReport } from '../worker/order.ts';
import { emptyUsage, timeoutError } from './ending.ts';
import type { AttemptEnding, AttemptRequest } from './runtime.ts';

/** A host beyond this share of the machine's memory is ended, so that leaks cannot take the machine with them. */
export const HOST_MEMORY_SHARE = 0.4;

export interface Pending {
  readonly request: AttemptRequest;
  readonly startedAtMs: number;
  announced: boolean;
  timedOut: boolean;
  finish(ending: AttemptEnding): void;
}

export type EndCause =
  | { readonly kind: 'memory' | 'interrupted' }
  | { readonly kind: 'timeout'; readonly id: number };

export interface Host {
  readonly child: ChildProcess;
  readonly ready: Promise<void>;
  readonly pending: Map<number, Pending>;
  readonly logTail: () => string;
  cause: EndCause | null;
  peakBytes: number;
}

/**
 * Whose doing the end of a host was. An injected fault announces itself; otherwise a trial that was alone is to blame, and
 * among several nobody can tell: then all are collateral.
 */
export function blame(
  pending: ReadonlyMap<number, Pending>,
  cause: EndCause | null,
): Map<number, AttemptEnd> {
  const ids = [...pending.keys()];
  if (cause?.kind === 'interrupted') return new Map(ids.map((id) => [id, 'interrupted']));
  if (cause?.kind === 'timeout') return new Map([[cause.id, 'timeout']]);
  const [end, fault] =
    cause?.kind === 'memory' ? (['oom', 'leak'] as const) : (['crashed', 'crash'] as const);
  const culprits = ids.filter((id) => {
    const one = pending.get(id);
    return one?.announced && one.request.fault?.kind === fault;
  });
  if (culprits.length > 0) return new Map(culprits.map((id) => [id, end]));
  return ids.length === 1 ? new Map([[ids[0] as number, end]]) : new Map();
}

export function describeEnd(
  cause: EndCause | null,
  exitCode: number | null,
  signal: string | null,
  running: number,
): string {
  const why =
    cause?.kind === 'memory'
      ? `ended by the bench at ${HOST_MEMORY_SHARE * 100} % of the machine's memory`
      : cause?.kind === 'timeout'
        ? 'ended by the bench because a trial did not end in time'
        : signal === null
          ? `exited with status ${exitCode}`
          : `ended by ${signal}`;
  return `${why}, with ${running} trial${running === 1 ? '' : 's'} in it`;
}

export function endError(
  end: AttemptEnd,
  wallMs: number,
  running: number,
  signal: string | null,
): ErrorData | null {
  if (end === 'timeout') return timeoutError(wallMs);
  if (end === 'crashed')
    return new CloveError('TRIAL_FAILED', `the host process was ended by ${signal ?? 'an exit'}`).toJSON();
  if (end !== 'collateral') return null;
  return new CloveError(
    'TRIAL_FAILED',
    `the host process died with ${running} trials in it (${signal ?? 'an exit'}); this one is not known to be the cause`,
  ).toJSON();
}

export function reportEnding(
  host: Host,
  pending: Pending,
  report: AttemptReport,
  endedAtMs: number,
): AttemptEnding {
  return {
    end: report.end,
    exitCode: null,
    signal: null,
    error: report.error,
    usage: {
      wallMs: endedAtMs - pending.startedAtMs,
      startupMs: report.enteredAtMs - pending.startedAtMs,
      computeMs: report.computeMs,
      cpuMs: report.cpuMs,
      memoryPeakBytes: Math.max(host.peakBytes, report.maxRssBytes),
      memorySource: 'shared',
    },
    logTail: report.logTail,
    result: report.result,
  };
}

export function lostEnding(
  host: Host,
  pending: Pending,
  message: Extract<FromHost, { kind: 'lost' }>,
  endedAtMs: number,
): AttemptEnding {
  const wallMs = endedAtMs - pending.startedAtMs;
  const timedOut = message.aborted && pending.timedOut;
  return {
    end: timedOut ? 'timeout' : 'crashed',
    exitCode: null,
    signal: null,
    error: timedOut ? timeoutError(wallMs) : message.error,
    usage: {
      ...emptyUsage(wallMs),
      memoryPeakBytes: host.peakBytes || null,
      memorySource: host.peakBytes ? 'shared' : null,
    },
    logTail: host.logTail(),
    result: null,
  };
}
