import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { MAX_ANSWER_BYTES } from '../protocol/constants.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import type { RecordingStatus } from '../recording/recorder.ts';
import type { RecordingSettings } from '../recording/session.ts';
import { importEntries, REPLAY_STATES, type StateReplayStatus } from '../recording/state-replay.ts';
import { tooLarge, type ViewEntry } from '../recording/view.ts';
import { defineSyscall, type SyscallContext } from './define.ts';
import { callerId } from './fields.ts';

/** Of what one answer holds, before it is written as JSON. */
const MAX_EXPORT_BYTES = 24 * 2 ** 20;
/** Besides the export an answer has little, and `entries` only if they are few. */
const MAX_TEXT_BYTES = MAX_ANSWER_BYTES - 8 * 2 ** 20;
const MAX_BESIDES_BYTES = 2 * 2 ** 20;
const MAX_NAMES = 1000;

const state = z.enum(['IDLE', 'RECORDING', 'PAUSED']);
const pauseReason = z.enum(['queue_full', 'max_entries', 'max_bytes', 'write_failed']).nullable();

const statusFields = {
  state: state.describe(
    'PAUSED: a limit is reached or the disk refuses; what comes is counted, not recorded.',
  ),
  active: z.boolean().describe('RECORDING.'),
  paused: z.boolean(),
  pause_reason: pauseReason,
  entry_count: z.int().describe('Calls of the view for existing clients.'),
  entries_recorded: z.int().describe('As `entry_count`.'),
  last_sequence_id: z.int(),
  calls_recorded: z.int().describe('All calls of the file.'),
  calls_lost: z.int().describe('Calls that came and are not in the file; it says so, too.'),
  started_at: z.number().nullable().describe('Seconds since the epoch; null = never.'),
  file: z.string().nullable().describe('On the host; bears its final name when the recording has ended.'),
  recording_id: z.string().nullable().describe('Hash of the finished file.'),
};

function statusOf(status: RecordingStatus) {
  return {
    state: status.state,
    active: status.state === 'RECORDING',
    paused: status.state === 'PAUSED',
    pause_reason: status.pauseReason,
    entry_count: status.viewEntries,
    entries_recorded: status.viewEntries,
    last_sequence_id: status.viewEntries,
    calls_recorded: status.calls,
    calls_lost: status.lost,
    started_at: status.startedAt === null ? null : status.startedAt / 1000,
    file: status.file,
    recording_id: status.id,
  };
}

/** Whoever has the audit log can tell which recordings there were, and whether a file is one of them. */
function audit(
  { kernel, caller }: SyscallContext,
  type: string,
  details: Record<string, unknown>,
): Promise<void> {
  const by = { caller, name: kernel.mailboxes.nameOf(caller.id) };
  return kernel.audit.event({ category: 'SYSCALL', type, by, success: true, details }, true);
}

const names = z.array(z.string().min(1).max(256)).max(MAX_NAMES);

export const recordStart = defineSyscall({
  opcode: OPCODES.RECORD_START,
  name: 'RECORD_START',
  summary:
    'Starts a recording: a file with every call of the chosen callers and every start and end of agents, secrets taken out. Settings stay for the next one.',
  request: z
    .object({
      include_think: z
        .boolean()
        .optional()
        .describe('Show THINK to existing clients; the file has it anyway.'),
      include_http: z.boolean().optional().describe('So for HTTP.'),
      include_exec: z.boolean().optional().describe('So for EXEC.'),
      max_entries: z.int().min(1).max(100_000_000).optional().describe('Calls; default 50000.'),
      max_bytes: z
        .int()
        .min(1)
        .max(2 ** 44)
        .optional()
        .describe('Of the file; default 1 GiB.'),
      filter_agents: z
        .array(callerId)
        .max(MAX_NAMES)
        .nullish()
        .describe('Only these callers; none, and no names = all.'),
      filter_names: names.optional().describe('Agents by name, also ones that start later.'),
      redact_names: names
        .optional()
        .describe('Names besides the usual ones whose values are secrets; `*` = any text.'),
      secrets: z.array(z.string().max(4096)).max(MAX_NAMES).optional().describe('Secrets themselves.'),
    })
    .prefault({}),
  response: z.object({
    success: z.boolean().describe('False where a recording runs already.'),
    recording: z.boolean(),
    ...statusFields,
    error: z.string().optional(),
    code: z.string().optional(),
  }),
  permission: 'recording.control',
  audit: 'SYSCALL',
  replay: 'recorded',
  errorShape: { recording: false },
  async handle(request, context) {
    const { recorder } = context.kernel;
    const started = await recorder.start(settingsOf(request), request.secrets ?? []);
    const status = statusOf(recorder.status);
    if (started) {
      await audit(context, 'RECORDING_STARTED', { started_by: context.caller.id, file: status.file });
    }
    if (started) return { success: true, recording: true, ...status };
    return {
      success: false,
      recording: true,
      ...status,
      error: 'a recording runs already',
      code: 'CONFLICT',
    };
  },
});

function settingsOf(request: z.output<typeof recordStart.request>): Partial<RecordingSettings> {
  const settings: { -readonly [Name in keyof RecordingSettings]?: RecordingSettings[Name] } = {};
  if (request.include_think !== undefined) settings.includeThink = request.include_think;
  if (request.include_http !== undefined) settings.includeHttp = request.include_http;
  if (request.include_exec !== undefined) settings.includeExec = request.include_exec;
  if (request.max_entries !== undefined) settings.maxEntries = request.max_entries;
  if (request.max_bytes !== undefined) settings.maxBytes = request.max_bytes;
  if (request.filter_agents !== undefined) settings.filterAgents = request.filter_agents ?? [];
  if (request.filter_names !== undefined) settings.filterNames = request.filter_names;
  if (request.redact_names !== undefined) settings.redactNames = request.redact_names;
  return settings;
}

export const recordStop = defineSyscall({
  opcode: OPCODES.RECORD_STOP,
  name: 'RECORD_STOP',
  summary: 'Ends the recording; answers when its file is whole and on disk.',
  request: z.unknown(),
  response: z.object({
    success: z.boolean().describe('False where none runs.'),
    recording: z.literal(false),
    ...statusFields,
    error: z.string().optional(),
    code: z.string().optional(),
  }),
  permission: 'recording.control',
  audit: 'SYSCALL',
  replay: 'recorded',
  errorShape: { recording: false },
  async handle(_request, context) {
    const { recorder } = context.kernel;
    const stopped = await recorder.stop();
    const status = statusOf(recorder.status);
    if (stopped) {
      await audit(context, 'RECORDING_STOPPED', {
        stopped_by: context.caller.id,
        entries_recorded: status.entries_recorded,
        calls_recorded: status.calls_recorded,
        calls_lost: status.calls_lost,
        recording_id: status.recording_id,
      });
    }
    if (stopped) return { success: true, recording: false as const, ...status };
    return {
      success: false,
      recording: false as const,
      ...status,
      error: 'no recording runs',
      code: 'CONFLICT',
    };
  },
});

const viewEntry = z.object({
  sequence_id: z.int(),
  timestamp: z.string(),
  agent_id: callerId,
  opcode: z.int(),
  opcode_name: z.string(),
  payload: z.string(),
  response: z.string(),
  duration_us: z.int(),
  success: z.boolean(),
});

export const recordStatus = defineSyscall({
  opcode: OPCODES.RECORD_STATUS,
  name: 'RECORD_STATUS',
  summary: 'How the recording stands, and what it holds: of the current one, or of the latest.',
  request: z
    .object({
      export: z.boolean().default(false).describe('With all entries as JSON text.'),
      get_entries: z.unknown().optional().describe('Present, whatever it is: with `entries`.'),
      limit: z.int().min(0).max(100_000).default(100).describe('Of `entries`.'),
      since_id: z.int().default(0).describe('Only `entries` behind this one.'),
    })
    .prefault({}),
  response: z.object({
    success: z.literal(true),
    ...statusFields,
    recording: z.union([z.boolean(), z.string()]).describe('With `export` the entries as JSON text.'),
    recording_data: z.string().optional().describe('With `export`: as `recording`.'),
    entries: z.array(viewEntry).optional(),
  }),
  permission: 'recording.control',
  audit: 'SYSCALL',
  replay: 'recorded',
  errorShape: { recording: false },
  async handle(request, { kernel }) {
    const { recorder } = kernel;
    const text = request.export ? exportText(await recorder.view(whole())) : null;
    const entries =
      request.get_entries === undefined
        ? null
        : await recorder.view({
            sinceId: request.since_id,
            limit: request.limit,
            maxBytes: request.export ? MAX_BESIDES_BYTES : MAX_EXPORT_BYTES,
          });
    const status = statusOf(recorder.status);
    return {
      success: true as const,
      ...status,
      recording: text ?? status.state === 'RECORDING',
      ...(text === null ? {} : { recording_data: text }),
      ...(entries === null ? {} : { entries }),
    };
  },
});

/** @throws OVERLOAD */
function exportText(entries: readonly ViewEntry[]): string {
  const text = JSON.stringify(entries);
  // The answer holds it twice, under the names of both generations of clients.
  if (2 * Buffer.byteLength(JSON.stringify(text)) > MAX_TEXT_BYTES) throw tooLarge();
  return text;
}

function whole() {
  return { sinceId: 0, limit: Number.POSITIVE_INFINITY, maxBytes: MAX_EXPORT_BYTES };
}

export const replayStart = defineSyscall({
  opcode: OPCODES.REPLAY_START,
  name: 'REPLAY_START',
  summary:
    'Makes the calls of a recording again that change state, messages and names, as the caller, in their order. Commands, files, agents and the network are skipped.',
  request: z
    .object({
      recording: z.unknown().optional().describe('What RECORD_STATUS exports: the text, or the array in it.'),
      recording_data: z.unknown().optional().describe('As `recording`.'),
    })
    .optional(),
  response: z.object({ success: z.literal(true), total_entries: z.int(), state: z.enum(REPLAY_STATES) }),
  permission: 'recording.control',
  audit: 'SYSCALL',
  replay: 'recorded',
  errorShape: { total_entries: 0 },
  async handle(request, context) {
    const { kernel, signal } = context;
    if (request === undefined) throw new CloveError('BAD_REQUEST', 'Invalid JSON payload');
    const data = request.recording ?? request.recording_data;
    if (data === undefined || data === null || data === '') {
      throw new CloveError('BAD_REQUEST', 'No recording loaded');
    }
    const { stateReplay, dispatcher } = kernel;
    const calls = importEntries(data);
    stateReplay.start(
      calls,
      {
        nameOf: (opcode) => dispatcher.nameOf(opcode),
        perform: (opcode, payload) => dispatcher.perform(context, opcode, payload),
      },
      signal,
    );
    await audit(context, 'REPLAY_STARTED', { started_by: context.caller.id, total_entries: calls.length });
    return { success: true as const, total_entries: calls.length, state: stateReplay.status.state };
  },
});

export const replayStatus = defineSyscall({
  opcode: OPCODES.REPLAY_STATUS,
  name: 'REPLAY_STATUS',
  summary: 'How far the replay is that REPLAY_START began.',
  request: z.unknown(),
  response: z.object({
    success: z.literal(true),
    state: z.enum(REPLAY_STATES).describe('paused: a mailbox or quota is full; it is tried again.'),
    active: z.boolean(),
    total_entries: z.int(),
    current_entry: z.int().describe('Entries dealt with.'),
    entries_replayed: z.int(),
    entries_skipped: z.int().describe('Calls that change nothing in the kernel, or had failed.'),
    progress: z.number().describe('0 to 1.'),
    progress_percent: z.int(),
    error: z.string().optional().describe('The last error.'),
    last_error: z.string().optional(),
    errors: z.array(z.string()).describe('Of entries that were refused; the others were replayed.'),
  }),
  permission: 'recording.control',
  audit: 'SYSCALL',
  replay: 'recorded',
  handle: (_request, { kernel }) => replayAnswer(kernel.stateReplay.status),
});

function replayAnswer(status: StateReplayStatus) {
  const progress = status.total === 0 ? 0 : status.current / status.total;
  const last = status.errors.at(-1);
  return {
    success: true as const,
    state: status.state,
    active: status.state === 'running' || status.state === 'paused',
    total_entries: status.total,
    current_entry: status.current,
    entries_replayed: status.replayed,
    entries_skipped: status.skipped,
    progress,
    progress_percent: Math.floor(progress * 100),
    ...(last === undefined ? {} : { error: last, last_error: last }),
    errors: [...status.errors],
  };
}

export const recordingSyscalls = [recordStart, recordStop, recordStatus, replayStart, replayStatus] as const;
