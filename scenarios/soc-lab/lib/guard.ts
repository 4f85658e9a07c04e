import type { IncidentType } from '../severity/incident.ts';
import { SEVERITIES, type Severity } from '../severity/incident.ts';
import type { Deed } from './decision.ts';
import { type Action, PLAYBOOK } from './playbook.ts';

/** What may be left undone, whatever happened; everything else of the playbook is done where it is serious. */
const OPTIONAL: ReadonlySet<Action> = new Set<Action>(['investigate', 'monitor_ip']);

/** A model sees what attackers wrote: it may take an incident for one level less bad than the evidence says, not for more. */
export function boundedSeverity(judged: Severity, evidence: Severity): Severity {
  const floor = Math.max(0, SEVERITIES.indexOf(evidence) - 1);
  return SEVERITIES[Math.max(SEVERITIES.indexOf(judged), floor)] as Severity;
}

export interface Ruling {
  /** To be proposed to the safety rules, in order. */
  readonly actions: readonly Action[];
  /** What the model wanted and does not get, with the reason. */
  readonly refused: readonly (Deed & { readonly reason: string })[];
  /** What the model left out and is done all the same. */
  readonly added: readonly Action[];
}

/**
 * A model chooses among what the playbook has for this kind of incident, on the target that the evidence names. What it leaves out of
 * the protective part is done all the same where the incident is serious.
 */
export function ruleOn(
  deeds: readonly Deed[],
  incident: { readonly type: IncidentType; readonly severity: Severity },
  targetOf: (action: Action) => string | null,
): Ruling {
  const playbook = PLAYBOOK[incident.type] ?? [];
  const refused: (Deed & { reason: string })[] = [];
  const actions = new Set<Action>();
  for (const { action, target } of deeds) {
    if (!playbook.includes(action))
      refused.push({ action, target, reason: `not in the playbook for ${incident.type}` });
    else if (targetOf(action) !== target)
      refused.push({ action, target, reason: 'not what the incident is about' });
    else actions.add(action);
  }
  const isSerious = incident.severity === 'high' || incident.severity === 'critical';
  const added = playbook.filter((action) => isSerious && !OPTIONAL.has(action) && !actions.has(action));
  return { actions: [...added, ...actions], refused, added };
}
