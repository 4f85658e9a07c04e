/** Decides how bad an incident is, with a model that it fits to labelled incidents when it starts. */
import { isOperator, LabAgent } from '../lib/agent.ts';
import type { OpenIncident } from '../lib/correlate.ts';
import { readJudgement } from '../lib/decision.ts';
import { boundedSeverity } from '../lib/guard.ts';
import { type AnomalyContext, TRAINING_PARTS, type TriageResult } from '../lib/messages.ts';
import { PLAYBOOK } from '../lib/playbook.ts';
import { decisionOf } from '../lib/thinking.ts';
import { DETECTIONS } from '../severity/features.ts';
import type { LabelledIncident } from '../severity/generate.ts';
import type { Incident } from '../severity/incident.ts';
import { SeverityModel } from '../severity/model.ts';

/** Less sure than this, the model gives way to the rules. */
const SURE = 0.6;
const CRITICALITY: Readonly<Record<string, number>> = { auth: 2, web: 1, database: 3, firewall: 2 };
const PRIVILEGED: ReadonlySet<string> = new Set(['root', 'admin', 'administrator', 'deploy', 'backup']);

const TASK = `You are on triage in a security operations centre. Judge how bad an incident is, by its kind, the target's criticality (0-3), how fast and how often it comes, and what is known of its source (threatScore 0-100, null = nothing): {"severity": "low" | "medium" | "high" | "critical", "confidence": 0 to 1}.`;

const agent = await LabAgent.start('triager');
let asksModel = false;
let model: SeverityModel | null = null;
const waiting = new Map<string, { incident: OpenIncident; context: AnomalyContext }>();
/** Incidents may be reported again with another kind of evidence, so each report waits by itself. */
let nextTicket = 1;

async function modelOf(): Promise<SeverityModel> {
  if (model === null) {
    const training: LabelledIncident[] = [];
    for (let part = 0; part < TRAINING_PARTS; part++)
      training.push(...JSON.parse(await agent.clove.readFile(`/data/training-${part}.json`)));
    model = new SeverityModel(training, 1);
  }
  return model;
}

function byRules({ type, assetCriticality, threatScore }: Incident): TriageResult['severity'] {
  const isHostile = threatScore !== null && threatScore >= 70;
  if (!DETECTIONS.has(type)) return isHostile ? 'medium' : 'low';
  return isHostile || assetCriticality >= 3 ? 'critical' : 'high';
}

async function judge(incident: OpenIncident, facts: Incident): Promise<TriageResult> {
  const { threatScore } = facts;
  const { severity, confidence } = (await modelOf()).judge(facts);
  const trained: TriageResult =
    confidence >= SURE
      ? { severity, confidence, threatScore, by: 'model' }
      : { severity: byRules(facts), confidence, threatScore, by: 'rules' };
  if (!asksModel) return trained;
  const { users, system, lines } = incident;
  const asked = await decisionOf(agent, incident.id, TASK, { ...facts, system, users, lines }, readJudgement);
  if (asked === null) return trained;
  const bounded = boundedSeverity(asked.severity, trained.severity);
  if (bounded !== asked.severity)
    await agent.record('model_overruled', incident.id, {
      wanted: asked.severity,
      severity: bounded,
      reason: `the evidence says ${trained.severity}`,
    });
  return { severity: bounded, confidence: asked.confidence, threatScore, by: 'language-model' };
}

async function triage(ticket: string, score: number | null): Promise<void> {
  const held = waiting.get(ticket);
  if (held === undefined) return;
  waiting.delete(ticket);
  const { incident, context } = held;
  const facts: Incident = {
    type: incident.lead.type,
    atMs: incident.firstAtMs,
    sourceIp: incident.sourceIp,
    port: incident.lead.port,
    user: incident.lead.user,
    isPrivilegedUser: incident.users.some((user) => PRIVILEGED.has(user)),
    assetCriticality: CRITICALITY[incident.system] ?? 1,
    velocityPerMinute: context.velocityPerMinute,
    repeatCount: context.repeatCount,
    anomalyCount: incident.lines,
    threatScore: score,
  };
  const result = await judge(incident, facts);
  await agent.record('triaged', incident.id, { type: incident.lead.type, ...result });
  if (result.severity !== 'low' && PLAYBOOK[incident.lead.type] !== undefined)
    await agent.send('remediation-executor', { type: 'remediate', incident, triage: result });
  if (result.severity === 'high' || result.severity === 'critical')
    await agent.send('alert-escalator', { type: 'escalate_alert', incident, triage: result });
}

for await (const { message, from } of agent.messages()) {
  if (message.type === 'start' && isOperator(from)) {
    asksModel = message.asksModel;
  } else if (message.type === 'anomaly_detected') {
    const ticket = String(nextTicket++);
    waiting.set(ticket, message);
    const { sourceIp } = message.incident;
    if (sourceIp === null) await triage(ticket, null);
    else await agent.send('threat-intel', { type: 'enrich_incident', id: ticket, sourceIp });
  } else if (message.type === 'enrichment_result' && from === 'threat-intel') {
    await triage(message.id, message.score);
  } else if (message.type === 'judge' && isOperator(from)) {
    const verdicts = (await modelOf()).judgeAll(message.incidents);
    await agent.send('oracle', { answer: message.ask, severities: verdicts.map(({ severity }) => severity) });
  }
}
