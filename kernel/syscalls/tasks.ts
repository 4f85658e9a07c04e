import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { JsonText } from '../json.ts';
import type { Kernel } from '../kernel.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { TASK_STATES, type Task } from '../tasks/task.ts';
import { defineSyscall, type SyscallContext } from './define.ts';
import { callerId, json, MAX_TIMER_MS, waiting, waitMsOf } from './fields.ts';

const DEFAULT_LEASE_MS = 60_000;
const DEFAULT_ATTEMPTS = 3;
const MAX_LISTED = 1000;

const id = z.int().min(1);
const text = z.string().max(256);
const leaseMs = z.int().min(1).max(MAX_TIMER_MS);
const assignee = z.union([callerId, z.string()]);

const taskView = z.object({
  task_id: z.int(),
  kind: z.string(),
  title: z.string(),
  payload: json,
  state: z.enum(TASK_STATES),
  creator: callerId,
  assignee: callerId.nullable().describe('Who works on it, or did last.'),
  attempts: z.int().describe('How often it was given to somebody.'),
  max_attempts: z.int(),
  priority: z.int(),
  depends_on: z.array(z.int()).readonly(),
  lease_ms: z.int(),
  lease_until_ms: z.number().nullable().describe('Since the epoch.'),
  deadline_ms: z.number().nullable().describe('Since the epoch.'),
  result: json.describe('null where there is none.'),
  error: z.string().nullable(),
  created_ms: z.number(),
  changed_ms: z.number(),
});

function viewOf(task: Task): z.input<typeof taskView> {
  return {
    task_id: task.id,
    kind: task.kind,
    title: task.title,
    payload: new JsonText(task.payload),
    state: task.state,
    creator: task.creatorId,
    assignee: task.assigneeId,
    attempts: task.attempts,
    max_attempts: task.maxAttempts,
    priority: task.priority,
    depends_on: task.dependsOn,
    lease_ms: task.leaseMs,
    lease_until_ms: task.leaseWallMs,
    deadline_ms: task.deadlineWallMs,
    result: task.result === null ? null : new JsonText(task.result),
    error: task.error,
    created_ms: task.createdWallMs,
    changed_ms: task.changedWallMs,
  };
}

/** Whoever made it and whoever works on it; an operator's client all. */
function sees({ caller }: SyscallContext, task: Task): boolean {
  return caller.kind === 'operator' || task.creatorId === caller.id || task.assigneeId === caller.id;
}

/** A task that is no business of the caller is as good as none. */
function visibleTask(context: SyscallContext, taskId: number): Task {
  const task = context.kernel.taskBoard.get(taskId);
  if (task === undefined || !sees(context, task)) {
    throw new CloveError('NOT_FOUND', `task not found: ${taskId}`);
  }
  return task;
}

function assigneeId(kernel: Kernel, caller: number, named: number | string): number {
  const found = typeof named === 'number' ? named : kernel.mailboxes.resolve(caller, named);
  if (found === undefined || !kernel.mailboxes.has(found)) {
    throw new CloveError('NOT_FOUND', `agent not found: ${named}`);
  }
  return found;
}

export const taskCreate = defineSyscall({
  opcode: OPCODES.TASK_CREATE,
  name: 'TASK_CREATE',
  summary: 'Leaves a piece of work for whoever takes it, or for somebody. Answered when it is durable.',
  request: z.object({
    kind: text.default('').describe('What workers choose by.'),
    title: text.default(''),
    payload: json.default(null),
    priority: z.int().min(-1000).max(1000).default(0).describe('Higher ones first, then older ones.'),
    depends_on: z.array(id).max(256).default([]).describe('Tasks that must be completed before.'),
    lease_ms: leaseMs
      .default(DEFAULT_LEASE_MS)
      .describe('How long a worker may take before the task goes to the next.'),
    max_attempts: z.int().min(1).max(1000).default(DEFAULT_ATTEMPTS),
    timeout_ms: z.int().min(1).max(MAX_TIMER_MS).nullish().describe('When it expires; default: never.'),
    assignee: assignee.nullish().describe('Id or name: it is given to this one at once.'),
  }),
  response: z.object({ success: z.literal(true), task_id: z.int(), task: taskView }),
  permission: 'tasks.create',
  audit: 'IPC',
  replay: 'recorded',
  async handle(request, { kernel, caller }) {
    const task = await kernel.taskBoard.create(caller.id, {
      kind: request.kind,
      title: request.title,
      payload: JSON.stringify(request.payload),
      priority: request.priority,
      dependsOn: [...new Set(request.depends_on)],
      leaseMs: request.lease_ms,
      maxAttempts: request.max_attempts,
      timeoutMs: request.timeout_ms ?? null,
      assigneeId: request.assignee == null ? null : assigneeId(kernel, caller.id, request.assignee),
    });
    return { success: true as const, task_id: task.id, task: viewOf(task) };
  },
});

export const taskAssign = defineSyscall({
  opcode: OPCODES.TASK_ASSIGN,
  name: 'TASK_ASSIGN',
  summary:
    'Without `task_id`: takes the next task, waiting for one where asked to. With it: its creator gives it to somebody, and whoever works on it gets more time.',
  request: z.object({
    task_id: id.nullish(),
    assignee: assignee.nullish().describe('Id or name; default: the caller.'),
    kinds: z.array(text).min(1).max(256).nullish().describe('Take only these; default: any.'),
    lease_ms: leaseMs.nullish().describe('Default: that of the task.'),
    ...waiting,
  }),
  response: z.object({
    success: z.literal(true),
    assigned: z.boolean().describe('false = there was none, or none came in time.'),
    task: taskView.nullable(),
  }),
  permission: 'tasks.work',
  audit: 'IPC',
  replay: 'recorded',
  errorShape: { assigned: false, task: null },
  async handle(request, context) {
    const { kernel, caller, signal } = context;
    const { taskBoard } = kernel;
    const lease = request.lease_ms ?? null;
    if (request.task_id == null) {
      if (request.assignee != null) {
        throw new CloveError('BAD_REQUEST', 'invalid request: which task is to be given to somebody?');
      }
      const kinds = request.kinds == null ? null : new Set(request.kinds);
      const task = await taskBoard.claim(caller.id, kinds, {
        leaseMs: lease,
        waitMs: waitMsOf(request),
        signal,
      });
      return { success: true as const, assigned: task !== null, task: task === null ? null : viewOf(task) };
    }
    const task = visibleTask(context, request.task_id);
    const to = request.assignee == null ? caller.id : assigneeId(kernel, caller.id, request.assignee);
    const isRenewal = task.assigneeId === caller.id && to === caller.id;
    if (caller.kind !== 'operator' && task.creatorId !== caller.id && !isRenewal) {
      throw new CloveError(
        'FORBIDDEN',
        `Permission denied: task ${task.id} is not this caller’s to give away`,
      );
    }
    if (isRenewal && task.state !== 'assigned' && task.creatorId !== caller.id) {
      throw new CloveError('CONFLICT', `task ${task.id} is not this caller’s any more: it is ${task.state}`);
    }
    const assigned = await taskBoard.assign(task.id, to, lease);
    return { success: true as const, assigned: true, task: viewOf(assigned) };
  },
});

export const taskStatus = defineSyscall({
  opcode: OPCODES.TASK_STATUS,
  name: 'TASK_STATUS',
  summary: 'A task of the caller: one that it has made or works on.',
  request: z.object({ task_id: id }),
  response: z.object({ success: z.literal(true), task: taskView }),
  permission: 'tasks.read',
  audit: 'IPC',
  replay: 'recorded',
  handle: (request, context) => ({
    success: true as const,
    task: viewOf(visibleTask(context, request.task_id)),
  }),
});

export const taskComplete = defineSyscall({
  opcode: OPCODES.TASK_COMPLETE,
  name: 'TASK_COMPLETE',
  summary:
    'Tells how a task ended; the same once more changes nothing. With an error it goes to the next worker, while attempts are left.',
  request: z.object({
    task_id: id,
    attempt: z
      .int()
      .min(0)
      .nullish()
      .describe('`attempts` of the task as it was taken: refused if it is another’s by now.'),
    result: json.optional(),
    error: z.string().max(16_384).nullish().describe('It could not be done.'),
    retry: z.boolean().default(true).describe('After an error: somebody may try again.'),
  }),
  response: z.object({
    success: z.literal(true),
    completed: z.boolean(),
    already: z.boolean().describe('It had been told before.'),
    task: taskView,
  }),
  permission: 'tasks.work',
  audit: 'IPC',
  replay: 'recorded',
  errorShape: { completed: false },
  async handle(request, context) {
    const { kernel, caller } = context;
    visibleTask(context, request.task_id);
    const { task, already } = await kernel.taskBoard.complete(
      request.task_id,
      caller.id,
      caller.kind === 'operator',
      request.attempt ?? null,
      {
        result: request.result === undefined ? null : JSON.stringify(request.result),
        error: request.error ?? null,
        retry: request.retry,
      },
    );
    return { success: true as const, completed: task.state === 'completed', already, task: viewOf(task) };
  },
});

export const taskList = defineSyscall({
  opcode: OPCODES.TASK_LIST,
  name: 'TASK_LIST',
  summary: 'Tasks that the caller has made or works on, in order of their ids; of an operator’s client all.',
  request: z.object({
    state: z.enum(TASK_STATES).nullish(),
    kind: text.nullish(),
    after: z.int().min(0).default(0).describe('Only tasks behind this one: the last of the previous answer.'),
    limit: z.int().min(1).max(MAX_LISTED).default(100),
  }),
  response: z.object({
    success: z.literal(true),
    tasks: z.array(taskView),
    count: z.int(),
    more: z.boolean().describe('There are others behind the last one.'),
  }),
  permission: 'tasks.read',
  audit: 'IPC',
  replay: 'recorded',
  errorShape: { tasks: [], count: 0 },
  handle({ state, kind, after, limit }, context) {
    const found = [...context.kernel.taskBoard.list()]
      .filter((task) => task.id > after && sees(context, task))
      .filter((task) => (state == null || task.state === state) && (kind == null || task.kind === kind))
      .sort((a, b) => a.id - b.id);
    const tasks = found.slice(0, limit).map(viewOf);
    return { success: true as const, tasks, count: tasks.length, more: found.length > limit };
  },
});

export const taskSyscalls = [taskCreate, taskAssign, taskStatus, taskComplete, taskList] as const;
