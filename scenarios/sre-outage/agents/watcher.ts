/** Looks at what customers see, every half minute of the world, and pages the responder. */
import { type Incident, OnCall } from '../lib/on-call.ts';

const EVERY_MS = 30_000;
/** Looks in a row that have to be bad: one may be chance. */
const BAD_LOOKS = 2;

const agent = await OnCall.start('watcher');
for await (const { message, from_name } of agent.clove.messages()) {
  const { type, responder } = message as { type?: string; responder?: string };
  // Every agent has a name, so who has none is an operator.
  if (type !== 'start' || responder === undefined || from_name !== '') continue;
  await watch(responder);
  await agent.clove.send('oracle', { ended: agent.name });
}

async function watch(responder: string): Promise<void> {
  await agent.ask('POST', 'http://pager.sre/on-call');
  let open: number | null = null;
  let bad = 0;
  while (
    ((await agent.ask<{ remaining_ms: number }>('GET', 'http://pager.sre/on-call'))?.remaining_ms ?? 0) > 0
  ) {
    await agent.sleep(EVERY_MS);
    const slo = await agent.slo();
    if (slo === null) continue;
    const { availability, p95_ms, objective } = slo;
    const isBad = (availability ?? 1) < objective.availability || (p95_ms ?? 0) > objective.p95_ms;
    bad = isBad ? bad + 1 : 0;
    if (bad < BAD_LOOKS) continue;
    if (open !== null && (await agent.isOpen(open))) continue;
    const title = `customers: ${((availability ?? 0) * 100).toFixed(1)} % answered, p95 ${Math.round(p95_ms ?? 0)} ms`;
    const incident = await agent.ask<Incident>('POST', 'http://pager.sre/incidents', { title });
    if (incident === null) continue;
    open = incident.id;
    await agent.clove.send(responder, { type: 'page', incident: incident.id, openedMs: incident.openedMs });
  }
}
