import type { Sandbox } from '../../native/types.ts';
import type { Agent } from '../agents/agent.ts';
import { lifecycleData } from '../agents/events.ts';
import type { Life } from '../agents/life.ts';
import type { EventType } from '../events/event-bus.ts';
import type { Mailboxes } from '../ipc/mailboxes.ts';
import { Watch } from './watch.ts';

export interface WatchingOptions {
  readonly mailboxes: Mailboxes;
  readonly callsOf: (agent: Agent) => number;
  readonly say: (type: EventType, data: Readonly<Record<string, unknown>>) => void;
  readonly ready: () => void;
}

/** Watches the incarnation that has just been started. One that is not ready in time or not well is ended as one that failed. */
export function startWatch(life: Life, sandbox: Sandbox, options: WatchingOptions): void {
  const { agent } = life;
  const { ready, health } = agent.supervision;
  const end = (fault: 'unhealthy' | 'unready') => {
    if (agent.sandbox !== sandbox) return;
    life.fault ??= fault;
    sandbox.kill('killed');
  };
  const watch: Watch = new Watch({
    sandbox,
    ready,
    health,
    env: agent.plan.sandbox.env,
    cwd: agent.plan.sandbox.cwd,
    calls: () => options.callsOf(agent),
    hasName: (name) => options.mailboxes.namesOf(agent.id).includes(name),
    ping: (nonce) => options.mailboxes.send(0, agent.id, JSON.stringify({ type: 'clove.ping', nonce })),
    onReady: () => {
      agent.ready = true;
      // Where it means no more than AGENT_SPAWNED, that says it.
      if (ready.on !== 'start') options.say('AGENT_READY', { ...lifecycleData(agent), ready_on: ready.on });
      options.ready();
    },
    onUnready: () => {
      const reason = `not ready after ${ready.timeoutMs} ms (${ready.on})`;
      options.say('AGENT_HEALTH', { ...lifecycleData(agent), health: 'unready', failures: 0, reason });
      end('unready');
    },
    onHealth: (state, failures, reason) => {
      options.say('AGENT_HEALTH', { ...lifecycleData(agent), health: state, failures, reason });
      if (state === 'unhealthy' && health?.action === 'restart') end('unhealthy');
    },
  });
  life.watch = watch;
  watch.start();
}
