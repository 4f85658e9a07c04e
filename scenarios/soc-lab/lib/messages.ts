import type { Incident, Severity } from '../severity/incident.ts';
import type { OpenIncident } from './correlate.ts';
import type { Action } from './playbook.ts';

/** Files of labelled incidents at /data/training-<n>.json: one alone would be larger than a call may be. */
export const TRAINING_PARTS = 4;

/** Whoever decides by a model where the lab has one. */
export const MODEL_DRIVEN = ['triager', 'remediation-executor'] as const;

/** What agents of the lab say to each other; `type` decides. */
export type LabMessage =
  | {
      readonly type: 'start';
      readonly untilMs: number;
      readonly lines: readonly ScheduledLine[];
      /** Whether those of MODEL_DRIVEN ask a model. */
      readonly asksModel: boolean;
    }
  | { readonly type: 'ended' }
  | { readonly type: 'anomaly_detected'; readonly incident: OpenIncident; readonly context: AnomalyContext }
  | { readonly type: 'enrich_incident'; readonly id: string; readonly sourceIp: string }
  | { readonly type: 'enrichment_result'; readonly id: string; readonly score: number | null }
  | { readonly type: 'remediate'; readonly incident: OpenIncident; readonly triage: TriageResult }
  | { readonly type: 'escalate_alert'; readonly incident: OpenIncident; readonly triage: TriageResult }
  | { readonly type: 'approval_request'; readonly request: ApprovalRequest }
  | {
      readonly type: 'approval_result';
      readonly incidentId: string;
      readonly action: Action;
      readonly granted: boolean;
    }
  | { readonly type: 'record'; readonly record: LabRecord }
  | { readonly type: 'judge'; readonly ask: number; readonly incidents: readonly Incident[] }
  | { readonly type: 'finalize' };

/** A line of the log that is due at a moment after the world's start. */
export interface ScheduledLine {
  readonly dueMs: number;
  /** Without its time: the writer knows that. */
  readonly text: string;
}

export interface AnomalyContext {
  readonly velocityPerMinute: number;
  readonly repeatCount: number;
}

export interface TriageResult {
  readonly severity: Severity;
  readonly confidence: number;
  readonly threatScore: number | null;
  /** model = the trained one; language-model = the one that was asked, within the bounds of the evidence. */
  readonly by: 'model' | 'rules' | 'language-model';
}

export interface ApprovalRequest {
  readonly incidentId: string;
  readonly action: Action;
  readonly target: string;
  readonly severity: Severity;
}

/** One entry of the auditor's book. */
export interface LabRecord {
  /** ms since the epoch, in world time. */
  readonly atMs: number;
  readonly agent: string;
  readonly what: string;
  readonly incidentId: string | null;
  readonly detail: Readonly<Record<string, unknown>>;
}
