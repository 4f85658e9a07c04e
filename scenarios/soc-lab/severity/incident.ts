/** What the SOC lab knows about an incident when it has to decide how bad it is. */

export const SEVERITIES = ['low', 'medium', 'high', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** Kinds of evidence; one kind is no severity: a failed login may be a typing mistake or a stolen account. */
export const INCIDENT_TYPES = [
  'FAILED_LOGIN',
  'INVALID_USER',
  'BRUTE_FORCE',
  'HTTP_ERROR',
  'SLOW_QUERY',
  'SQL_INJECTION',
  'PATH_TRAVERSAL',
  'XSS_ATTEMPT',
  'CONN_TIMEOUT',
  'FW_DENY',
  'PORT_SCAN',
  'UNAUTH_ACCESS',
  'BW_SPIKE',
  'DATA_EXFIL',
  'C2_BEACON',
  'PRIV_ESC',
  'RATE_LIMIT',
  'POOL_EXHAUSTED',
  'DDOS_DETECT',
  'DISK_FULL',
] as const;
export type IncidentType = (typeof INCIDENT_TYPES)[number];

export interface Incident {
  readonly type: IncidentType;
  /** Time of the first event, ms since the epoch, in the world's time. */
  readonly atMs: number;
  readonly sourceIp: string | null;
  /** Port the event was about; null where there is none. */
  readonly port: number | null;
  readonly user: string | null;
  /** Administrators, service accounts. */
  readonly isPrivilegedUser: boolean;
  /** 0 = a workstation … 3 = what the business stands on. */
  readonly assetCriticality: number;
  /** Events of the same system in the minute before. */
  readonly velocityPerMinute: number;
  /** Incidents of the same source in the day before. */
  readonly repeatCount: number;
  /** Figures of the system out of their usual range at that moment. */
  readonly anomalyCount: number;
  /** 0–100, of the threat intelligence; null when it did not answer. */
  readonly threatScore: number | null;
}
