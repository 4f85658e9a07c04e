import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { AGENT_STATES } from '../agents/agent.ts';
import { logTail, usageReport } from '../agents/events.ts';
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
  }),
  permission: 'agents.control',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  readOnly: true,
  errorShape: { stdout: '', stderr: '' },
  handle(request, { kernel }) {
    const { id, name, stdout, stderr } = knownAgent(kernel, request);
    const maxBytes = request.max_bytes ?? DEFAULT_LOGS_BYTES;
    return {
      success: true as const,
      agent_id: id,
      name,
      stdout: stdout.tail(maxBytes).toString('utf8'),
      stderr: stderr.tail(maxBytes).toString('utf8'),
      stdout_bytes: stdout.totalBytes,
      stderr_bytes: stderr.totalBytes,
      stdout_dropped: stdout.droppedBytes,
      stderr_dropped: stderr.droppedBytes,
    };
  },
});
