import { INCIDENT_TYPES, type IncidentType } from '../severity/incident.ts';

/** A line of the lab's log, as systems write it and the log watcher reads it. */
export interface LogLine {
  /** ISO 8601, in world time. */
  readonly at: string;
  readonly system: string;
  readonly type: IncidentType;
  readonly sourceIp: string | null;
  readonly port: number | null;
  readonly user: string | null;
}

const TYPES: ReadonlySet<string> = new Set(INCIDENT_TYPES);
const LINE =
  /^(\d{4}-\d{2}-\d{2}T[\d:.]+Z) (\w[\w-]{0,31}) ([A-Z][A-Z0-9_]{1,31})(?: src=(\d{1,3}(?:\.\d{1,3}){3}))?(?: port=(\d{1,5}))?(?: user=([\w.-]{1,32}))?$/;

export function formatLine(line: LogLine): string {
  return [
    line.at,
    line.system,
    line.type,
    ...(line.sourceIp === null ? [] : [`src=${line.sourceIp}`]),
    ...(line.port === null ? [] : [`port=${line.port}`]),
    ...(line.user === null ? [] : [`user=${line.user}`]),
  ].join(' ');
}

/** null = not a line of the lab: truncated, forged, or of another program. Who writes a log may be the attacker. */
export function parseLine(text: string): LogLine | null {
  const match = LINE.exec(text);
  if (match === null) return null;
  const [, at = '', system = '', type = '', sourceIp, port, user] = match;
  if (!TYPES.has(type) || Number.isNaN(Date.parse(at))) return null;
  if (sourceIp?.split('.').some((octet) => Number(octet) > 255)) return null;
  if (port !== undefined && Number(port) > 65_535) return null;
  return {
    at,
    system,
    type: type as IncidentType,
    sourceIp: sourceIp ?? null,
    port: port === undefined ? null : Number(port),
    user: user ?? null,
  };
}
