import { z } from 'zod';
import { CloveError, isCloveError } from '../../errors/index.ts';
import { AGENT_STATES, type Agent } from '../agents/agent.ts';
import { logTail, usageReport } from '../agents/events.ts';
import type { LogBuffer } from '../agents/logs.ts';
import type { Kernel } from '../kernel.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { knownAgent, target, usage } from './agent-fields.ts';
import { defineSyscall } from './define.ts';
import { MAX_TIMER_MS } from './fields.ts';

const MAX_LOG_TAIL_BYTES = 2 ** 20;
const DEFAULT_LOGS_BYTES = 2 ** 20;
/** Control characters take six bytes each in JSON: two streams of these still fit one answer. */
const MAX_LOGS_BYTES = 4 * 2 ** 20;
const LONGEST_CHARACTER_BYTES = 4;

export const wait = defineSyscall({
  opcode: OPCODES.WAIT,
  name: 'WAIT',
  summary:
    'Answers when an agent has ended for good (no restart follows), with how it ended and what it used.',
  request: z.object({
    ...target,
    timeout_ms: z.int().min(0).max(MAX_TIMER_MS).nullish().describe('Default: no limit.'),
    log_bytes: z.int().min(0).max(MAX_LOG_TAIL_BYTES).nullish().describe('Of `log_tail`; default 8192.'),
  }),
  response: z.object({
    success: z.literal(true),
    agent_id: z.int(),
    name: z.string(),
    state: z.enum(AGENT_STATES),
    reason: z
      .enum(['exited', 'signal', 'oom', 'timeout', 'killed', 'setup', 'unhealthy', 'unready'])
      .describe(
        'unhealthy, unready: ended by the kernel because its health check failed, or it was not ready in time.',
      ),
    exit_code: z.int().nullable(),
    signal: z.string().nullable(),
    restart_count: z.int(),
    ended_at_ms: z.number(),
    usage: usage.describe('Of the last incarnation.'),
    log_tail: z.string().describe('End of stderr, or of stdout where stderr is empty. Untrusted text.'),
  }),
  permission: 'agents.control',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  readOnly: true,
  async handle(request, { kernel, signal }) {
    const agent = knownAgent(kernel, request);
    await kernel.supervisor.waitForEnd(agent, request.timeout_ms ?? null, signal);
    const exit = agent.lastExit;
    if (exit === null) throw new CloveError('NOT_FOUND', `agent ${agent.name} never ran`);
    return {
      success: true as const,
      agent_id: agent.id,
      name: agent.name,
      state: agent.state,
      reason: exit.reason,
      exit_code: exit.exitCode,
      signal: exit.signal,
      restart_count: exit.restartCount,
      ended_at_ms: exit.endedAt,
      usage: usageReport(exit),
      log_tail: logTail(agent, request.log_bytes ?? 8192),
    };
  },
});

export const logs = defineSyscall({
  opcode: OPCODES.LOGS,
  name: 'LOGS',
  summary:
    'The last output of an agent, over all its incarnations, or what follows a place in it. The kernel keeps the end and counts what it dropped.',
  request: z.object({
    ...target,
    max_bytes: z.int().min(0).max(MAX_LOGS_BYTES).nullish().describe('Of each stream; default 1 MiB.'),
    stdout_from: z
      .int()
      .min(0)
      .nullish()
      .describe(
        'Not the last bytes, but the first kept ones behind this many ever written. Above 0 the call goes on with an earlier one: it is recorded as SYSCALL.',
      ),
    stderr_from: z.int().min(0).nullish(),
    timeout_ms: z
      .int()
      .min(0)
      .max(MAX_TIMER_MS)
      .nullish()
      .describe(
        'With `stdout_from` or `stderr_from`: how long to wait for output, or the end of the agent, where there is nothing more yet. Default: not at all.',
      ),
  }),
  response: z.object({
    success: z.literal(true),
    agent_id: z.int(),
    name: z.string(),
    stdout: z.string().describe('Untrusted text.'),
    stderr: z.string().describe('Untrusted text.'),
    stdout_bytes: z.number().describe('Ever written.'),
    stderr_bytes: z.number(),
    stdout_dropped: z.number().describe('No longer kept.'),
    stderr_dropped: z.number(),
    stdout_to: z
      .number()
      .optional()
      .describe(
        'With `stdout_from`: where this ends, not in a character; what follows begins there. What lies between `stdout_from` and `stdout_dropped` is lost.',
      ),
    stderr_to: z.number().optional(),
    ended: z.boolean().describe('For good: nothing comes behind `stdout_bytes` and `stderr_bytes`.'),
  }),
  permission: 'agents.control',
  audit: 'AGENT_LIFECYCLE',
  continues: ({ stdout_from: stdoutFrom, stderr_from: stderrFrom }) =>
    (stdoutFrom ?? 0) > 0 || (stderrFrom ?? 0) > 0,
  replay: 'recorded',
  readOnly: true,
  errorShape: { stdout: '', stderr: '' },
  handle(request, { kernel, signal }) {
    const agent = knownAgent(kernel, request);
    const answer = logsOf(agent, request);
    if (!request.timeout_ms || !isAwaited(answer)) return answer;
    return awaitedLogs(agent, request, request.timeout_ms, kernel, signal);
  },
});

interface LogsRequest {
  readonly max_bytes?: number | null | undefined;
  readonly stdout_from?: number | null | undefined;
  readonly stderr_from?: number | null | undefined;
}

function logsOf(agent: Agent, request: LogsRequest) {
  const { id, name, stdout, stderr } = agent;
  const maxBytes = request.max_bytes ?? DEFAULT_LOGS_BYTES;
  const ended = agent.state === 'stopped' || agent.state === 'failed';
  const out = logText(stdout, maxBytes, request.stdout_from ?? null, ended);
  const err = logText(stderr, maxBytes, request.stderr_from ?? null, ended);
  return {
    success: true as const,
    agent_id: id,
    name,
    stdout: out.text,
    stderr: err.text,
    stdout_bytes: stdout.totalBytes,
    stderr_bytes: stderr.totalBytes,
    stdout_dropped: stdout.droppedBytes,
    stderr_dropped: stderr.droppedBytes,
    ...(out.to === null ? {} : { stdout_to: out.to }),
    ...(err.to === null ? {} : { stderr_to: err.to }),
    ended,
  };
}

type Logs = ReturnType<typeof logsOf>;

/** Of the streams that are followed there is nothing yet, but for the beginning of a character. */
function isAwaited(logs: Logs): boolean {
  const { stdout_to: out, stderr_to: err } = logs;
  if (logs.ended || (out === undefined && err === undefined)) return false;
  const isThrough = (text: string, to: number | undefined, total: number) =>
    to === undefined || (text === '' && total - to < LONGEST_CHARACTER_BYTES);
  return isThrough(logs.stdout, out, logs.stdout_bytes) && isThrough(logs.stderr, err, logs.stderr_bytes);
}

/** What there is as soon as there is something, the agent has ended, or the time is over. @throws CANCELLED */
async function awaitedLogs(
  agent: Agent,
  request: LogsRequest,
  timeoutMs: number,
  kernel: Kernel,
  signal: AbortSignal,
): Promise<Logs> {
  const enough = new AbortController();
  const look = () => {
    if (signal.aborted || !isAwaited(logsOf(agent, request))) enough.abort();
  };
  const unlisten = [
    ...(typeof request.stdout_from === 'number' ? [agent.stdout.listen(look)] : []),
    ...(typeof request.stderr_from === 'number' ? [agent.stderr.listen(look)] : []),
  ];
  signal.addEventListener('abort', look, { once: true });
  look();
  try {
    await kernel.supervisor.waitForEnd(agent, timeoutMs, enough.signal);
  } catch (error) {
    const isExpected = isCloveError(error) && (error.code === 'TIMEOUT' || enough.signal.aborted);
    if (!isExpected || signal.aborted) throw error;
  } finally {
    for (const stop of unlisten) stop();
    signal.removeEventListener('abort', look);
  }
  return logsOf(agent, request);
}

/** The end of a stream; with `from` the first that is kept behind that, and no character of which more may come. */
function logText(log: LogBuffer, maxBytes: number, from: number | null, ended: boolean) {
  if (from === null) return { text: log.tail(maxBytes).toString('utf8'), to: null };
  const begin = Math.min(Math.max(from, log.droppedBytes), log.totalBytes);
  const bytes = log.read(begin, maxBytes);
  const end = begin + bytes.length;
  const rest = unfinishedBytes(bytes);
  const isLast = end === log.totalBytes;
  // Less than a character at a time: it comes in parts, for else whoever goes on would stay where it is.
  const isComplete = isLast ? ended : rest === bytes.length;
  const cut = isComplete ? 0 : rest;
  return { text: bytes.toString('utf8', 0, bytes.length - cut), to: end - cut };
}

/** How many bytes at the end are the beginning of a UTF-8 character. */
function unfinishedBytes(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const wanted = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return wanted > back ? back : 0;
  }
  return 0;
}
