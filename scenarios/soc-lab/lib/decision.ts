import { SEVERITIES, type Severity } from '../severity/incident.ts';
import { ACTIONS, type Action } from './playbook.ts';

/** What a model answered, read as what somebody wrote whom nobody trusts; or why it is of no use. */
export type Read<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly reason: string };

export interface Judged {
  readonly severity: Severity;
  /** 0 … 1 */
  readonly confidence: number;
}

export interface Deed {
  readonly action: Action;
  readonly target: string;
}

/** More is not read: an answer of ours has some hundred characters. */
const MAX_ANSWER_CHARS = 8000;
const MAX_DEEDS = 8;
const MAX_TARGET_CHARS = 64;

const useless = (reason: string) => ({ ok: false, reason }) as const;

/** `{"severity": "high", "confidence": 0.8}`; more members are let be. */
export function readJudgement(answer: string): Read<Judged> {
  const object = objectIn(answer);
  if (!object.ok) return object;
  const { severity, confidence } = object.value;
  if (!SEVERITIES.some((one) => one === severity)) return useless(`severity is ${shown(severity)}`);
  if (typeof confidence !== 'number' || !(confidence >= 0 && confidence <= 1))
    return useless(`confidence is ${shown(confidence)}`);
  return { ok: true, value: { severity: severity as Severity, confidence } };
}

/** `{"actions": [{"action": "block_ip", "target": "192.0.2.7"}]}`. */
export function readDeeds(answer: string): Read<readonly Deed[]> {
  const object = objectIn(answer);
  if (!object.ok) return object;
  const { actions } = object.value;
  if (!Array.isArray(actions)) return useless(`actions is ${shown(actions)}`);
  if (actions.length > MAX_DEEDS) return useless(`${actions.length} actions`);
  const deeds: Deed[] = [];
  for (const each of actions as readonly unknown[]) {
    const { action, target } = (typeof each === 'object' && each !== null ? each : {}) as Record<
      string,
      unknown
    >;
    if (!ACTIONS.some((one) => one === action)) return useless(`there is no action ${shown(action)}`);
    if (typeof target !== 'string' || target === '' || target.length > MAX_TARGET_CHARS)
      return useless(`the target of ${String(action)} is ${shown(target)}`);
    deeds.push({ action: action as Action, target });
  }
  return { ok: true, value: deeds };
}

/** The one JSON object of an answer: alone, or in a fence as models like to have it. */
function objectIn(answer: string): Read<Record<string, unknown>> {
  if (answer.length > MAX_ANSWER_CHARS) return useless(`an answer of ${answer.length} characters`);
  const text = /^\s*```(?:json)?\s*\n([\s\S]*?)\n?```\s*$/.exec(answer)?.[1] ?? answer;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return useless('not JSON');
  }
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? { ok: true, value: value as Record<string, unknown> }
    : useless('not an object');
}

/** Of whatever it is, as much as a record needs. */
function shown(value: unknown): string {
  return value === undefined ? 'missing' : (JSON.stringify(value) ?? typeof value).slice(0, 60);
}
