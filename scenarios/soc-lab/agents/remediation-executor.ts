/** Does what the playbook says, within the safety rules; what needs somebody's word waits for the auditor's. */
import { isOperator, LabAgent } from '../lib/agent.ts';
import type { OpenIncident } from '../lib/correlate.ts';
import { readDeeds } from '../lib/decision.ts';
import { ruleOn } from '../lib/guard.ts';
import type { TriageResult } from '../lib/messages.ts';
import { type Action, PLAYBOOK, SafetyRules } from '../lib/playbook.ts';
import { decisionOf } from '../lib/thinking.ts';
import type { Severity } from '../severity/incident.ts';

const BLOCK_MINUTES = 60;
const TASK = `You act on incidents in a security operations centre. Choose from "options", in the order in which to act; leave out what does more harm than good: {"actions": [{"action": "...", "target": "..."}]}. Safety rules hold in any case.`;
const dryRun = process.env.LAB_MODE === 'dry-run';

const agent = await LabAgent.start('remediation-executor');
const rules = new SafetyRules();
const done = new Set<string>();
let asksModel = false;
const awaiting = new Map<string, { incident: OpenIncident; target: string }>();

function targetOf(action: Action, incident: OpenIncident): string | null {
  switch (action) {
    case 'block_ip':
    case 'monitor_ip':
      return incident.sourceIp;
    case 'revoke_session':
      return incident.lead.user ?? incident.users[0] ?? null;
    case 'enable_ddos_protection':
      return 'firewall';
    case 'isolate_host':
    case 'investigate':
    case 'cleanup':
      return incident.system;
  }
}

async function perform(action: Action, target: string, incident: OpenIncident): Promise<void> {
  const key = `${action} ${target}`;
  // Forensics are taken for every incident; everything else holds until it ends by itself.
  if (action !== 'investigate' && done.has(key)) return;
  done.add(key);
  if (dryRun) {
    await agent.record('dry_run', incident.id, { action, target });
    return;
  }
  const answer = await call(action, target, incident);
  const ok = answer !== null && answer.status < 400;
  if (!ok) done.delete(key);
  await agent.record(ok ? 'executed' : 'failed', incident.id, { action, target });
}

function call(action: Action, target: string, incident: OpenIncident) {
  const path = encodeURIComponent(target);
  switch (action) {
    case 'block_ip':
    case 'monitor_ip':
      return agent.service('POST', 'http://firewall.lab/rules', {
        kind: action === 'block_ip' ? 'block' : 'watch',
        address: target,
        reason: `${incident.id} ${incident.lead.type}`,
        minutes: BLOCK_MINUTES,
      });
    case 'enable_ddos_protection':
      return agent.service('PUT', 'http://firewall.lab/ddos-protection', { on: true });
    case 'revoke_session':
      return agent.service('POST', `http://identity.lab/users/${path}/revoke`, {});
    case 'isolate_host':
      return agent.service('POST', `http://hosts.lab/hosts/${path}/isolate`, {});
    case 'investigate':
      return agent.service('POST', `http://hosts.lab/hosts/${path}/forensics`, { incident: incident.id });
    case 'cleanup':
      return agent.service('POST', `http://hosts.lab/hosts/${path}/cleanup`, {});
  }
}

/** What to propose to the safety rules: the playbook, or what a model makes of it within its bounds. */
async function chosen(
  incident: OpenIncident,
  { severity, threatScore }: TriageResult,
): Promise<readonly Action[]> {
  const { type } = incident.lead;
  const playbook = PLAYBOOK[type] ?? [];
  if (!asksModel || playbook.length === 0) return playbook;
  const target = (action: Action) => targetOf(action, incident);
  const options = playbook.flatMap((action) => {
    const on = target(action);
    return on === null ? [] : [{ action, target: on }];
  });
  const { id, system, sourceIp, users, lines } = incident;
  const evidence = { type, severity, threatScore, system, sourceIp, users, lines, options };
  const deeds = await decisionOf(agent, id, TASK, evidence, readDeeds);
  if (deeds === null) return playbook;
  const { actions, refused, added } = ruleOn(deeds, { type, severity }, target);
  for (const each of refused) await agent.record('model_overruled', id, { ...each });
  for (const action of added)
    await agent.record('model_overruled', id, {
      action,
      reason: `left out, and the playbook wants it for ${severity}`,
    });
  return actions;
}

async function propose(action: Action, incident: OpenIncident, severity: Severity): Promise<void> {
  const target = targetOf(action, incident);
  if (target === null) {
    await agent.record('not_possible', incident.id, { action, reason: 'nothing to act on' });
    return;
  }
  if (action !== 'investigate' && done.has(`${action} ${target}`)) return;
  const decision = rules.decide({ action, target, severity }, await agent.nowMs());
  if (decision.kind === 'act') await perform(action, target, incident);
  else if (decision.kind === 'refuse')
    await agent.record('blocked', incident.id, { action, target, reason: decision.reason });
  else {
    awaiting.set(`${incident.id} ${action}`, { incident, target });
    await agent.send('auditor', {
      type: 'approval_request',
      request: { incidentId: incident.id, action, target, severity },
    });
  }
}

for await (const { message, from } of agent.messages()) {
  if (message.type === 'start' && isOperator(from)) {
    asksModel = message.asksModel;
  } else if (message.type === 'remediate' && (from === 'triager' || from === 'health-monitor')) {
    for (const action of await chosen(message.incident, message.triage))
      await propose(action, message.incident, message.triage.severity);
  } else if (message.type === 'approval_result' && from === 'auditor') {
    const key = `${message.incidentId} ${message.action}`;
    const held = awaiting.get(key);
    awaiting.delete(key);
    if (held === undefined) continue;
    if (message.granted) await perform(message.action, held.target, held.incident);
    else
      await agent.record('not_approved', message.incidentId, { action: message.action, target: held.target });
  }
}
