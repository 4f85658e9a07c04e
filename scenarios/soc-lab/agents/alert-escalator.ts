/** Tells the outside world, but not so often that nobody listens any more. */
import { LabAgent } from '../lib/agent.ts';

const PER_MINUTE = 10;

const agent = await LabAgent.start('alert-escalator');
const sent: number[] = [];
for await (const { message, from } of agent.messages()) {
  if (message.type !== 'escalate_alert' || from !== 'triager') continue;
  const nowMs = await agent.nowMs();
  while (sent.length > 0 && (sent[0] as number) <= nowMs - 60_000) sent.shift();
  const { incident, triage } = message;
  if (sent.length >= PER_MINUTE) {
    await agent.record('escalation_held_back', incident.id, { reason: `more than ${PER_MINUTE} a minute` });
    continue;
  }
  sent.push(nowMs);
  const answer = await agent.service('POST', 'http://siem.lab/alerts', {
    incident: incident.id,
    severity: triage.severity,
    title: `${incident.lead.type} on ${incident.system} from ${incident.sourceIp ?? 'inside'}`,
  });
  await agent.record(answer?.status === 201 ? 'escalated' : 'escalation_failed', incident.id, {
    severity: triage.severity,
  });
}
