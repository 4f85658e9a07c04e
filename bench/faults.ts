import { CloveError } from '../errors/index.ts';
import { Luck } from '../worlds/luck/streams.ts';
import type { FaultKind, FaultPlan } from './types.ts';

export const FAULT_KINDS: readonly FaultKind[] = ['crash', 'hang', 'leak'];

/** A fault that one attempt will meet. Injected by the worker itself, inside the sandbox or process of the attempt. */
export interface FaultDraw {
  readonly kind: FaultKind;
  /** Before the trial's function, or after it but before its result is out (the costliest moment). */
  readonly moment: 'before' | 'after';
}

/** `crash=0.05,hang=0.02,leak=0.02` → plan. Probabilities per attempt; they may not add up to more than 1. Throws USAGE. */
export function parseFaults(text: string): FaultPlan {
  const plan: Partial<Record<FaultKind, number>> = {};
  for (const part of text.split(',').map((item) => item.trim())) {
    if (part === '') continue;
    const [kind, value, ...rest] = part.split('=').map((item) => item.trim());
    if (!FAULT_KINDS.includes(kind as FaultKind) || rest.length > 0) throw usage(`unknown fault "${part}"`);
    const name = kind as FaultKind;
    if (plan[name] !== undefined) throw usage(`"${name}" is given twice`);
    const probability = value === undefined || value === '' ? Number.NaN : Number(value);
    if (!(probability >= 0 && probability <= 1)) throw usage(`"${part}" is no probability from 0 to 1`);
    plan[name] = probability;
  }
  const total = FAULT_KINDS.reduce((sum, kind) => sum + (plan[kind] ?? 0), 0);
  if (total > 1 + 1e-9) throw usage(`the probabilities add up to ${total}`);
  return plan;
}

function usage(problem: string): CloveError {
  return new CloveError('USAGE', `faults: ${problem}`, {
    hint: 'Write for example crash=0.05,hang=0.02,leak=0.02.',
  });
}

export function hasFaults(plan: FaultPlan): boolean {
  return FAULT_KINDS.some((kind) => (plan[kind] ?? 0) > 0);
}

/**
 * What happens to attempt number `attempt` (from 1, interrupted ones not counted) of a trial. Depends on nothing but the
 * arguments, so every runtime and every repetition of a run meets the same faults.
 */
export function drawFault(
  plan: FaultPlan,
  seed: number,
  trialKey: string,
  attempt: number,
): FaultDraw | null {
  if (!hasFaults(plan)) return null;
  const stream = new Luck(seed).stream(`faults/${trialKey}/${attempt}`);
  const point = stream.next();
  // Drawn in any case, so that the moment does not depend on the plan.
  const moment = stream.chance(0.5) ? 'before' : 'after';
  let edge = 0;
  for (const kind of FAULT_KINDS) {
    edge += plan[kind] ?? 0;
    if (point < edge) return { kind, moment };
  }
  return null;
}
