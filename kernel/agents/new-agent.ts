import type { SandboxExit } from '../../native/types.ts';
import { supervisionPlan } from '../supervision/plan.ts';
import type { Agent, LaunchPlan } from './agent.ts';
import { LogBuffer } from './logs.ts';
import type { Plan } from './plan.ts';
import { RestartState } from './restart-policy.ts';

/** The end of an incarnation that could not be set up. */
export const SETUP_EXIT: SandboxExit = {
  reason: 'setup',
  exitCode: null,
  signal: null,
  cpuUserUs: 0,
  cpuSystemUs: 0,
  memoryPeakBytes: 0,
  oomKills: 0,
  pidsRefused: 0,
  cpuThrottledUs: 0,
  wallUs: 0,
};

export function newAgent(id: number, parentId: number, plan: Plan, random?: () => number): Agent {
  const { logBytes, name } = plan.launch;
  return {
    id,
    name,
    parentId,
    plan: plan.launch,
    counters: {
      syscalls: 0,
      messagesSent: 0,
      messagesReceived: 0,
      bytesRead: 0,
      bytesWritten: 0,
      llmCalls: 0,
      llmTokens: 0,
    },
    restart: new RestartState(plan.restart, random),
    supervision: supervisionPlan(plan.launch.request),
    stdout: new LogBuffer(logBytes),
    stderr: new LogBuffer(logBytes),
    spawnedAt: Date.now(),
    state: 'starting',
    labels: plan.launch.request?.labels ?? {},
    status: '',
    ready: false,
    sandbox: null,
    pid: 0,
    startedAt: Date.now(),
    restartAt: null,
    lastExit: null,
  };
}

/** Thousands of ended agents are remembered, and a request may carry megabytes of stdin and environment. */
export function withoutBulk(plan: LaunchPlan): LaunchPlan {
  return {
    ...plan,
    request: null,
    template: null,
    stdin: null,
    sandbox: { ...plan.sandbox, argv: [], env: {}, mounts: [] },
  };
}
