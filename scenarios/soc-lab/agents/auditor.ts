/** Keeps the book, gives or refuses its word where an action needs a second pair of eyes, and writes the report. */
import { isOperator, LabAgent } from '../lib/agent.ts';
import type { ApprovalRequest, LabRecord } from '../lib/messages.ts';

/** Machines that are never taken off the network without a human. */
const VITAL: ReadonlySet<string> = new Set(['database']);

const agent = await LabAgent.start('auditor');
const book: LabRecord[] = [];

function decide({ action, target, severity }: ApprovalRequest): { granted: boolean; reason: string } {
  if (action === 'cleanup') return { granted: true, reason: 'only temporary files go' };
  if (severity !== 'critical') return { granted: false, reason: 'not critical' };
  if (VITAL.has(target)) return { granted: false, reason: `the business stands on ${target}` };
  return { granted: true, reason: 'critical, and the business goes on without it' };
}

for await (const { message, from } of agent.messages()) {
  if (message.type === 'record') {
    // Nobody writes in the name of another.
    if (message.record.agent === from) book.push(message.record);
  } else if (message.type === 'approval_request' && from === 'remediation-executor') {
    const { request } = message;
    const { granted, reason } = decide(request);
    book.push({
      atMs: Math.round(await agent.nowMs()),
      agent: agent.name,
      what: granted ? 'approved' : 'refused',
      incidentId: request.incidentId,
      detail: { action: request.action, target: request.target, reason },
    });
    await agent.send('remediation-executor', {
      type: 'approval_result',
      incidentId: request.incidentId,
      action: request.action,
      granted,
    });
  } else if (message.type === 'finalize' && isOperator(from)) {
    const counts: Record<string, number> = {};
    for (const { what } of book) counts[what] = (counts[what] ?? 0) + 1;
    await agent.clove.writeFile('/reports/shift.json', JSON.stringify({ counts, book }, null, 1));
    await agent.send('oracle', { ended: agent.name, records: book.length });
  }
}
