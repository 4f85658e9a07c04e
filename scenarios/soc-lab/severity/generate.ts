import type { RandomStream } from '../../../worlds/index.ts';
import { DETECTIONS, FAMILY, type Family } from './features.ts';
import { INCIDENT_TYPES, type Incident, SEVERITIES, type Severity } from './incident.ts';

/**
 * Incidents with the severity that analysts would give them, made by rule: labelled, synthetic. Severity is harm times likelihood: how
 * bad this kind of thing is where it happens, raised by what makes it likely to be an attack, lowered by what makes it likely to be
 * nothing. Analysts differ: `disagreement` is the deviation of their judgement in steps of severity.
 */
const HARM: Readonly<Record<Family, { readonly symptom: number; readonly detection: number }>> = {
  injection: { symptom: 0.3, detection: 1.8 },
  auth: { symptom: 0.2, detection: 1.4 },
  exfil: { symptom: 0.8, detection: 1.9 },
  scan: { symptom: 0, detection: 0.6 },
  dos: { symptom: 0.4, detection: 1.2 },
  other: { symptom: 0.2, detection: 0.2 },
};

export interface LabelledIncident {
  readonly incident: Incident;
  readonly severity: Severity;
}

/** In steps of severity; below 0.5 low, from 2.5 critical. */
export function severityScore(incident: Incident): number {
  const { symptom, detection } = HARM[FAMILY[incident.type]];
  let score = DETECTIONS.has(incident.type) ? detection : symptom;
  score += 0.3 * incident.assetCriticality;
  if (incident.isPrivilegedUser) score += 0.5;
  if (incident.threatScore !== null && incident.threatScore >= 70) score += 0.7;
  if (incident.velocityPerMinute > 20) score += 0.4;
  if (incident.repeatCount >= 3) score += 0.3;
  if (incident.anomalyCount >= 5) score += 0.2;
  return score;
}

export function severityOf(score: number): Severity {
  return SEVERITIES[Math.min(3, Math.max(0, Math.round(score)))] as Severity;
}

export function generateIncidents(
  count: number,
  random: RandomStream,
  disagreement = 0.03,
): LabelledIncident[] {
  return Array.from({ length: count }, () => {
    const incident = randomIncident(random);
    return { incident, severity: severityOf(severityScore(incident) + disagreement * gaussian(random)) };
  });
}

function randomIncident(random: RandomStream): Incident {
  const type = random.pick(INCIDENT_TYPES);
  const hasSource = type !== 'DISK_FULL' && type !== 'POOL_EXHAUSTED' && !random.chance(0.05);
  const isHostile = random.chance(0.35);
  const octet = () => random.integer(1, 254);
  const isInside = hasSource && random.chance(0.25);
  return {
    type,
    atMs: Date.UTC(2026, 0, 1) + random.integer(0, 364 * 24 * 60 - 1) * 60_000,
    sourceIp: !hasSource
      ? null
      : isInside
        ? `10.${octet()}.${octet()}.${octet()}`
        : `${random.pick([45, 89, 141, 185, 194, 203])}.${octet()}.${octet()}.${octet()}`,
    port: random.chance(0.3)
      ? null
      : random.pick([21, 22, 23, 25, 80, 443, 445, 3306, 3389, 5432, 8080, 50_000]),
    user: random.chance(0.5) ? random.pick(['alice', 'bob', 'admin', 'root', 'backup']) : null,
    isPrivilegedUser: random.chance(0.2),
    assetCriticality: random.integer(0, 3),
    velocityPerMinute: isHostile ? random.integer(5, 80) : random.integer(0, 25),
    repeatCount: isHostile ? random.integer(0, 9) : random.integer(0, 3),
    anomalyCount: random.chance(0.3) ? random.integer(3, 12) : random.integer(0, 4),
    threatScore:
      !hasSource || random.chance(0.05)
        ? null
        : isInside
          ? 0
          : isHostile && random.chance(0.75)
            ? random.integer(75, 99)
            : random.integer(0, 40),
  };
}

/** Standard normal, from two uniform draws. */
function gaussian(random: RandomStream): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}
