import type { EventBus } from '../events/event-bus.ts';
import { FIRST_CLIENT_ID } from '../identity.ts';
import type { Task } from './task.ts';

/** Told to operators, to whoever made the task, and to whoever works on it; what it is about is for those who ask. */
export function publishTask(events: EventBus, task: Task): void {
  const data = {
    task_id: task.id,
    kind: task.kind,
    state: task.state,
    creator: task.creatorId,
    assignee: task.assigneeId,
    attempts: task.attempts,
  };
  events.publish('TASK_CHANGED', data, 0, 'operators');
  const agents = [task.creatorId, task.assigneeId].filter(
    (id): id is number => id !== null && id !== 0 && id < FIRST_CLIENT_ID,
  );
  for (const id of new Set(agents)) events.publish('TASK_CHANGED', data, 0, id);
}
