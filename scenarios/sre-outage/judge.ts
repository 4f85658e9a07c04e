/** What a shift was worth, from the platform's own books and the plan of the seed. Pure. */
import type { Outage, ShiftPlan } from '../../worlds/catalog/sre-outage/faults.ts';
import { STEP_MS } from '../../worlds/catalog/sre-outage/platform.ts';
import type { SreState } from '../../worlds/catalog/sre-outage/service.ts';

/** Customers have to have what they were promised for so long before an outage counts as over. */
export const SETTLE_MS = 8 * 60_000;

export interface OutageVerdict extends Outage {
  /** Steps of ten seconds in which customers did not get what they were promised. */
  readonly brokenSteps: number;
  /** ms since it began until there was an incident; null = nobody noticed. */
  readonly detectMs: number | null;
  /** Until the cause was first named right; null = never. */
  readonly diagnoseMs: number | null;
  /** Until all was well for good; null = until somebody else took over. */
  readonly recoverMs: number | null;
  readonly recovered: boolean;
  /** The last that was said of its cause. */
  readonly said: string | null;
  readonly isCauseRight: boolean;
}

export interface ShiftVerdict {
  readonly outages: readonly OutageVerdict[];
  readonly falsePages: number;
  readonly metrics: Readonly<Record<string, number | null>>;
}

export function judgeShift(plan: ShiftPlan, { platform, incidents }: SreState): ShiftVerdict {
  const during = ({ startMs, endMs }: Outage, atMs: number) => startMs <= atMs && atMs < endMs;
  const outages = plan.outages.map((outage): OutageVerdict => {
    const { startMs, endMs } = outage;
    const first = Math.ceil(startMs / STEP_MS);
    const last = Math.floor(endMs / STEP_MS);
    const kept = platform.promised.slice(first, last);
    const lastBroken = kept.lastIndexOf(0);
    const wellMs = (first + lastBroken + 1) * STEP_MS;
    const recovered = lastBroken >= 0 && endMs - wellMs >= SETTLE_MS;
    const own = incidents.filter(
      ({ openedMs, closedMs }) => openedMs < endMs && (closedMs === null || closedMs > startMs),
    );
    const diagnoses = own
      .flatMap((incident) => incident.diagnoses)
      .filter(({ atMs }) => during(outage, atMs));
    const right = diagnoses.find((diagnosis) => isRight(outage, diagnosis));
    const said = diagnoses.at(-1);
    return {
      ...outage,
      brokenSteps: kept.filter((one) => one === 0).length,
      detectMs: own[0] === undefined ? null : Math.max(0, own[0].openedMs - startMs),
      diagnoseMs: right === undefined ? null : right.atMs - startMs,
      recoverMs: recovered ? wellMs - startMs : null,
      recovered,
      said: said === undefined ? null : `${said.cause} of ${said.component}`,
      isCauseRight: said !== undefined && isRight(outage, said),
    };
  });
  const falsePages = incidents.filter(
    ({ openedMs }) => !plan.outages.some((each) => during(each, openedMs)),
  ).length;
  const falseClaims = outages.filter(
    (outage) =>
      !outage.recovered &&
      incidents.some(({ openedMs, status }) => during(outage, openedMs) && status === 'resolved'),
  ).length;
  const share = (fits: (one: OutageVerdict) => boolean) => outages.filter(fits).length / outages.length;
  // What never came counts until somebody else took over: leaving it out would reward giving up.
  const seconds = (of: (one: OutageVerdict) => number | null) =>
    outages.reduce((sum, one) => sum + (of(one) ?? one.endMs - one.startMs), 0) / outages.length / 1000;
  return {
    outages,
    falsePages,
    metrics: {
      recovered: share(({ recovered }) => recovered),
      rootCause: share(({ isCauseRight }) => isCauseRight),
      timeToDetectS: seconds(({ detectMs }) => detectMs),
      timeToDiagnoseS: seconds(({ diagnoseMs }) => diagnoseMs),
      timeToRecoverS: seconds(({ recoverMs }) => recoverMs),
      lostEuro: platform.lostCents.reduce((sum, cents) => sum + cents, 0) / 100,
      lostRecords: platform.actions.reduce((sum, { lostRecords }) => sum + lostRecords, 0),
      needlessActions: platform.actions.filter(({ ended, relieved }) => ended === null && !relieved).length,
      actions: platform.actions.length,
      falsePages,
      falseClaims,
    },
  };
}

function isRight(
  { kind, component }: Outage,
  said: { readonly cause: string; readonly component: string },
): boolean {
  if (said.cause !== kind) return false;
  // Whether one calls it the resolver's fault or that of the name it lost is a matter of taste.
  return said.component === component || (kind === 'dns_failure' && said.component === 'resolver');
}
