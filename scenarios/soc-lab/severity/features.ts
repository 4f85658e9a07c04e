import type { Incident, IncidentType } from './incident.ts';

/**
 * 19 numbers, each a fact that is known when the decision is due. What kind of evidence it is comes in as a family, and as whether it is
 * a detection or a mere symptom; not as the type itself, so that the model weighs circumstances instead of learning names by heart.
 */
export const FEATURE_NAMES = [
  'hour_of_day',
  'is_weekend',
  'is_night',
  'is_private_ip',
  'has_source',
  'port_class',
  'is_privileged_user',
  'asset_criticality',
  'velocity',
  'repeat_offender',
  'anomaly_count',
  'threat_score',
  'threat_known',
  'is_detection',
  'is_injection',
  'is_auth',
  'is_exfil',
  'is_scan',
  'is_dos',
] as const;

export type Family = 'injection' | 'auth' | 'exfil' | 'scan' | 'dos' | 'other';

export const FAMILY: Readonly<Record<IncidentType, Family>> = {
  FAILED_LOGIN: 'auth',
  INVALID_USER: 'auth',
  BRUTE_FORCE: 'auth',
  HTTP_ERROR: 'other',
  SLOW_QUERY: 'other',
  SQL_INJECTION: 'injection',
  PATH_TRAVERSAL: 'injection',
  XSS_ATTEMPT: 'injection',
  CONN_TIMEOUT: 'scan',
  FW_DENY: 'scan',
  PORT_SCAN: 'scan',
  UNAUTH_ACCESS: 'exfil',
  BW_SPIKE: 'exfil',
  DATA_EXFIL: 'exfil',
  C2_BEACON: 'exfil',
  PRIV_ESC: 'auth',
  RATE_LIMIT: 'dos',
  POOL_EXHAUSTED: 'dos',
  DDOS_DETECT: 'dos',
  DISK_FULL: 'other',
};

/** Something concluded that this is an attack; all others are symptoms that may have many causes. */
export const DETECTIONS: ReadonlySet<IncidentType> = new Set<IncidentType>([
  'BRUTE_FORCE',
  'SQL_INJECTION',
  'PATH_TRAVERSAL',
  'XSS_ATTEMPT',
  'PORT_SCAN',
  'UNAUTH_ACCESS',
  'DATA_EXFIL',
  'C2_BEACON',
  'PRIV_ESC',
  'DDOS_DETECT',
]);

const DATABASE_PORTS: ReadonlySet<number> = new Set([1433, 1521, 3306, 5432, 6379, 27017]);
const ATTACKED_PORTS: ReadonlySet<number> = new Set([21, 22, 23, 25, 445, 3389]);

/** Values in the order of FEATURE_NAMES; unknown is −1, which trees split off by themselves. */
export function featuresOf(incident: Incident): number[] {
  const at = new Date(incident.atMs);
  const hour = at.getUTCHours();
  const day = at.getUTCDay();
  const family = FAMILY[incident.type];
  const flag = (condition: boolean) => (condition ? 1 : 0);
  return [
    hour,
    flag(day === 0 || day === 6),
    flag(hour < 6 || hour >= 22),
    flag(incident.sourceIp !== null && isPrivate(incident.sourceIp)),
    flag(incident.sourceIp !== null),
    portClass(incident.port),
    flag(incident.isPrivilegedUser),
    incident.assetCriticality,
    incident.velocityPerMinute,
    incident.repeatCount,
    incident.anomalyCount,
    incident.threatScore ?? -1,
    flag(incident.threatScore !== null),
    flag(DETECTIONS.has(incident.type)),
    flag(family === 'injection'),
    flag(family === 'auth'),
    flag(family === 'exfil'),
    flag(family === 'scan'),
    flag(family === 'dos'),
  ];
}

function portClass(port: number | null): number {
  if (port === null) return -1;
  if (DATABASE_PORTS.has(port)) return 4;
  if (ATTACKED_PORTS.has(port)) return 3;
  return port < 1024 ? 0 : port < 49_152 ? 1 : 2;
}

/** 10/8, 172.16/12, 192.168/16, 127/8. */
export function isPrivate(address: string): boolean {
  const [a = 0, b = 0] = address.split('.').map(Number);
  return a === 10 || a === 127 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168);
}
