import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { AGENT_STATES } from '../agents/agent.ts';
import { logTail, usageReport } from '../agents/events.ts';
import type { LogBuffer } from '../agents/logs.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { knownAgent, target, usage } from './agent-fields.ts';
import { defineSyscall } from './define.ts';
import { MAX_TIMER_MS } from './fields.ts';

const MAX_LOG_TAIL_BYTES = 2 ** 20;
const DEFAULT_LOGS_BYTES = 2 ** 20;
/** Control characters take six bytes each in JSON: two streams of these still fit one answer. */
const MAX_LOGS_BYTES = 4 * 2 ** 20;

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
    'The last output of an agent, over all its incarnations. The kernel keeps the end and counts what it dropped.',
  request: z.object({
    ...target,
    max_bytes: z.int().min(0).max(MAX_LOGS_BYTES).nullish().describe('Of each stream; default 1 MiB.'),
    stdout_from: z.int().min(0).nullish().describe('Only what is behind this many bytes ever written.'),
    stderr_from: z.int().min(0).nullish(),
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
      .describe('With `stdout_from`: where this ends, not in a character; what follows begins there.'),
    stderr_to: z.number().optional(),
  }),
  permission: 'agents.control',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  readOnly: true,
  errorShape: { stdout: '', stderr: '' },
  handle(request, { kernel }) {
    const agent = knownAgent(kernel, request);
    const { id, name, stdout, stderr } = agent;
    const maxBytes = request.max_bytes ?? DEFAULT_LOGS_BYTES;
    const { stdout_from: stdoutFrom, stderr_from: stderrFrom } = request;
    const ended = agent.state === 'stopped' || agent.state === 'failed';
    const out = logText(stdout, maxBytes, stdoutFrom ?? null, ended);
    const err = logText(stderr, maxBytes, stderrFrom ?? null, ended);
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
      ...(typeof stdoutFrom === 'number' ? { stdout_to: out.to } : {}),
      ...(typeof stderrFrom === 'number' ? { stderr_to: err.to } : {}),
    };
  },
});

/** The end of a stream; with `from`, only what is behind that, and while more may come no character of which a part is missing. */
function logText(log: LogBuffer, maxBytes: number, from: number | null, ended: boolean) {
  const fresh = from === null ? maxBytes : Math.max(0, log.totalBytes - from);
  const bytes = log.tail(Math.min(maxBytes, fresh));
  const cut = from === null || ended ? 0 : unfinishedBytes(bytes);
  return { text: bytes.toString('utf8', 0, bytes.length - cut), to: log.totalBytes - cut };
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
