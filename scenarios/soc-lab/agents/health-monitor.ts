/** Looks after the machines themselves, every half minute. */
import { isOperator, LabAgent } from '../lib/agent.ts';
import type { OpenIncident } from '../lib/correlate.ts';

const EVERY_MS = 30_000;
const DISK_LIMIT_PERCENT = 90;

interface Host {
  readonly name: string;
  readonly disk: number;
}

const agent = await LabAgent.start('health-monitor');
let checks = 0;
for await (const { message, from } of agent.messages()) {
  if (message.type !== 'start' || !isOperator(from)) continue;
  for (let dueMs = EVERY_MS; dueMs <= message.untilMs; dueMs += EVERY_MS) {
    const { world_time_ms } = await agent.clove.waitInWorld({ untilMs: dueMs });
    const answer = await agent.service<Host[]>('GET', 'http://hosts.lab/hosts');
    checks++;
    if (answer?.status !== 200) {
      await agent.record('health_unknown', null, {});
      continue;
    }
    for (const host of answer.json) {
      if (host.disk < DISK_LIMIT_PERCENT) continue;
      const at = new Date(Math.round(world_time_ms)).toISOString();
      const incident: OpenIncident = {
        id: `health-${host.name}`,
        system: host.name,
        sourceIp: null,
        lead: { at, system: host.name, type: 'DISK_FULL', sourceIp: null, port: null, user: null },
        lines: 1,
        firstAtMs: world_time_ms,
        lastAtMs: world_time_ms,
        users: [],
      };
      await agent.record('health_alert', incident.id, { disk: host.disk });
      await agent.send('remediation-executor', {
        type: 'remediate',
        incident,
        triage: { severity: 'high', confidence: 1, threatScore: null, by: 'rules' },
      });
    }
  }
  await agent.record('health_closed', null, { checks });
  await agent.send('oracle', { ended: agent.name });
}
