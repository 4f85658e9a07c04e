import { describe, expect, it } from 'vitest';
import { supervisionPlan } from '../supervision/plan.ts';
import type { Agent } from './agent.ts';
import { LogBuffer } from './logs.ts';
import { makePlan } from './plan.ts';
import { DEFAULT_RESTART, RestartState } from './restart-policy.ts';
import { spawnRequest } from './spawn-request.ts';
import { AgentTable } from './table.ts';

const { launch: plan } = await makePlan(spawnRequest.parse({ command: ['/bin/true'] }), {
  agentId: 1,
  name: 'x',
  sandboxing: 'required' as const,
  stagingFolder: '/nonexistent',
  socketPath: '/nonexistent',
  sdkFolder: async () => '/nonexistent',
});

function agentOf(table: AgentTable, name: string, logBytes = 0): Agent {
  const agent: Agent = {
    id: table.nextId(),
    name,
    parentId: 0,
    plan,
    counters: {
      syscalls: 0,
      messagesSent: 0,
      messagesReceived: 0,
      bytesRead: 0,
      bytesWritten: 0,
      llmCalls: 0,
      llmTokens: 0,
    },
    restart: new RestartState(DEFAULT_RESTART),
    supervision: supervisionPlan(null),
    labels: {},
    status: '',
    ready: false,
    stdout: new LogBuffer(2 ** 21),
    stderr: new LogBuffer(0),
    spawnedAt: 0,
    state: 'running',
    sandbox: null,
    pid: 0,
    startedAt: 0,
    restartAt: null,
    lastExit: null,
  };
  agent.stdout.append(Buffer.alloc(logBytes));
  table.add(agent);
  return agent;
}

describe('AgentTable', () => {
  it('finds a live agent before an ended one of the same name', () => {
    const table = new AgentTable();
    const first = agentOf(table, 'ann');
    table.retire(first);
    expect(table.byName('ann')).toBeUndefined();
    expect(table.find('ann')).toBe(first);
    const second = agentOf(table, 'ann');
    expect(table.find('ann')).toBe(second);
    expect(table.find(first.id)).toBe(first);
    expect(table.list()).toEqual([second]);
  });

  it('keeps a bounded amount of output of the dead, the latest longest', () => {
    const table = new AgentTable();
    const agents = Array.from({ length: 20 }, (_, n) => agentOf(table, `a${n}`, 2 ** 20));
    for (const agent of agents) table.retire(agent);
    const kept = agents.map(({ stdout }) => stdout.keptBytes);
    expect(kept.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(16 * 2 ** 20);
    expect(kept[0]).toBe(0);
    expect(kept.at(-1)).toBe(2 ** 20);
    expect(agents[0]?.stdout.totalBytes).toBe(2 ** 20);
  });

  it('forgets the oldest of very many', () => {
    const table = new AgentTable();
    const agents = Array.from({ length: 5000 }, (_, n) => agentOf(table, `a${n}`, 10));
    for (const agent of agents) table.retire(agent);
    expect(table.find(agents[0]?.id ?? 0)).toBeUndefined();
    expect(table.find('a0')).toBeUndefined();
    expect(table.find('a4999')).toBe(agents.at(-1));
    expect(table.listEnded()).toHaveLength(4096);
  });

  it('never gives an id twice', () => {
    const table = new AgentTable();
    const ids = Array.from({ length: 100 }, () => table.nextId());
    expect(new Set(ids).size).toBe(100);
  });
});
