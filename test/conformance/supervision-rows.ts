import { expect } from 'vitest';
import { failure, type Row, row } from './row.ts';

const NUMBER = expect.any(Number);
const TEXT = expect.any(String);

const group = {
  name: 'crew',
  parent: null,
  strategy: 'one_for_all',
  order: NUMBER,
  max_restarts: 7,
  restart_window: 60,
  restart_backoff_ms: 100,
  restart_backoff_max_ms: NUMBER,
  failed: false,
  agents: [],
};

/** What agents tell their supervisor, and the groups it keeps them in. */
export const supervisionRows: readonly Row[] = [
  row(
    0x19,
    'NOTIFY by an agent',
    { ready: true, status: 'at work' },
    { success: true, answered: false },
    { as: 'agent' },
  ),
  row(
    0x19,
    'NOTIFY by one that has no supervisor',
    { ready: true },
    failure('only agents have a supervisor'),
  ),
  row(
    0x1a,
    'WAIT_READY',
    ({ agentId }) => ({ id: agentId, timeout_ms: 60_000 }),
    (answer, { agentId }) => {
      expect(answer).toMatchObject({
        success: true,
        ready: true,
        agent_id: agentId,
        name: 'an-agent',
        pid: NUMBER,
      });
    },
  ),
  row(0x1a, 'WAIT_READY of none', { id: 424_242 }, { success: false, ready: false, error: TEXT }),
  row(
    0x1b,
    'GROUP_SET',
    {
      name: 'crew',
      strategy: 'one_for_all',
      max_restarts: 7,
      restart_window: 60,
      restart_backoff_ms: 100,
    },
    { success: true, group },
  ),
  row(
    0x1b,
    'GROUP_SET of a member',
    { name: 'night', parent: 'crew', strategy: 'rest_for_one', order: 2 },
    {
      success: true,
      group: expect.objectContaining({ name: 'night', parent: 'crew', strategy: 'rest_for_one', order: 2 }),
    },
  ),
  row(
    0x1b,
    'GROUP_SET in what there is not',
    { name: 'lost', parent: 'nowhere' },
    { success: false, error: TEXT },
  ),
  row(
    0x1b,
    'GROUP_SET with a rule there is not',
    { name: 'crew', strategy: 'two_for_none' },
    failure('invalid request'),
  ),
  row(
    0x10,
    'SPAWN into a group',
    { name: 'guard', command: ['/bin/sleep', '600'], group: 'night' },
    { success: true },
    { save: 'guard' },
  ),
  row(0x1c, 'GROUP_LIST, whatever the payload', 'ignored', (answer, { saved }) => {
    expect(answer.success).toBe(true);
    const guard = saved.get('guard')?.id;
    expect(answer.groups).toEqual([
      expect.objectContaining({ ...group, agents: [guard] }),
      expect.objectContaining({ name: 'night', agents: [guard] }),
    ]);
  }),
  row(0x1d, 'GROUP_REMOVE of none', { name: 'nowhere' }, { success: false, killed: [], error: TEXT }),
  row(
    0x1d,
    'GROUP_REMOVE takes the groups below along',
    { name: 'crew', grace_ms: 0 },
    (answer, { saved }) => {
      expect(answer).toMatchObject({ success: true, name: 'crew', killed: [saved.get('guard')?.id] });
    },
  ),
  row(0x1c, 'GROUP_LIST of none', {}, { success: true, groups: [] }),
];
