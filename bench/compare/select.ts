import { CloveError } from '../../errors/index.ts';
import { canonicalJson } from '../keys.ts';
import type { Measured } from './types.ts';

/** A side as it is written: `latest`, `run@process`, `run@responder=runbook`, `run@clove,trader=momentum,officer=on`. */
export interface SideReference {
  readonly name: string;
  readonly runtime: string | null;
  /** Parameters that a trial must have. */
  readonly having: ReadonlyMap<string, string>;
}

/** @throws USAGE */
export function parseSide(reference: string): SideReference {
  const at = reference.lastIndexOf('@');
  if (at <= 0) return { name: reference, runtime: null, having: new Map() };
  const having = new Map<string, string>();
  let runtime: string | null = null;
  for (const part of reference.slice(at + 1).split(',')) {
    const equals = part.indexOf('=');
    if (equals > 0) having.set(part.slice(0, equals), part.slice(equals + 1));
    else if (equals < 0 && runtime === null && part !== '') runtime = part;
    else
      throw new CloveError(
        'USAGE',
        `${reference}: behind @ stands a runtime, parameters as name=value, or both`,
        {
          hint: 'clove bench compare latest@responder=runbook latest@responder=diagnoser',
        },
      );
  }
  return { name: reference.slice(0, at), runtime, having };
}

/**
 * The trials of a side that have these parameters, without them: what is left of the parameters, and the seed, is what they are paired
 * by, so that two variants of one run can be set against each other. @throws USAGE when there is none
 */
export function havingParameters(side: Measured, having: ReadonlyMap<string, string>): Measured {
  if (having.size === 0) return side;
  const trials = side.trials.flatMap((trial) => {
    const rest = Object.entries(trial.params).filter(([name]) => !having.has(name));
    const fits = [...having].every(
      ([name, value]) => Object.hasOwn(trial.params, name) && String(trial.params[name]) === value,
    );
    if (!fits) return [];
    const params = Object.fromEntries(rest);
    return [{ ...trial, params, key: canonicalJson({ params, seed: trial.seed }) }];
  });
  const wanted = [...having].map(([name, value]) => `${name}=${value}`).join(',');
  if (trials.length === 0)
    throw new CloveError('USAGE', `${side.label} has no trial with ${wanted}`, {
      hint: hintFor(side, having),
    });
  return { ...side, label: `${side.label}@${wanted}`, trials, noise: {} };
}

function hintFor({ trials }: Measured, having: ReadonlyMap<string, string>): string {
  const there = [...having.keys()].map((name) => {
    const values = new Set(
      trials.flatMap(({ params }) => (Object.hasOwn(params, name) ? [String(params[name])] : [])),
    );
    return values.size === 0 ? `no parameter ${name}` : `${name}=${[...values].join('|')}`;
  });
  return `There is ${there.join(', ')}.`;
}
