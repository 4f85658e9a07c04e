import { DETECTIONS } from '../severity/features.ts';
import type { LogLine } from './log-line.ts';

/** One incident: what belongs together by source and system, within a window. */
export interface OpenIncident {
  readonly id: string;
  readonly system: string;
  readonly sourceIp: string | null;
  /** The most telling line: a detection before a symptom, the latest before earlier ones. */
  readonly lead: LogLine;
  readonly lines: number;
  readonly firstAtMs: number;
  readonly lastAtMs: number;
  readonly users: readonly string[];
}

const WINDOW_MS = 60_000;
/** Symptoms alone become an incident when there are this many of one source. */
const SYMPTOMS_TO_REPORT = 4;

interface Running {
  id: string;
  system: string;
  sourceIp: string | null;
  lead: LogLine;
  lines: number;
  firstAtMs: number;
  lastAtMs: number;
  users: Set<string>;
  reported: string | null;
}

/**
 * Groups lines by source (or system, without one) in windows that last as long as lines keep coming. Reports a group when it first holds a
 * detection or enough symptoms, and again when a new kind of detection comes: each time once.
 */
export class Correlator {
  readonly #groups = new Map<string, Running>();
  readonly #recent = new Map<string, number[]>();
  readonly #incidentsBySource = new Map<string, number>();
  #next = 1;

  /** The incident to report because of this line, or null. */
  take(line: LogLine): OpenIncident | null {
    const atMs = Date.parse(line.at);
    const recent = (this.#recent.get(line.system) ?? []).filter((time) => time > atMs - WINDOW_MS);
    recent.push(atMs);
    this.#recent.set(line.system, recent);
    const key = line.sourceIp ?? `system:${line.system}`;
    let group = this.#groups.get(key);
    if (group === undefined || atMs - group.lastAtMs > WINDOW_MS) {
      group = {
        id: `inc-${String(this.#next++).padStart(4, '0')}`,
        system: line.system,
        sourceIp: line.sourceIp,
        lead: line,
        lines: 0,
        firstAtMs: atMs,
        lastAtMs: atMs,
        users: new Set(),
        reported: null,
      };
      this.#groups.set(key, group);
    }
    group.lines++;
    group.lastAtMs = atMs;
    if (line.user !== null) group.users.add(line.user);
    const isDetection = DETECTIONS.has(line.type);
    if (isDetection || !DETECTIONS.has(group.lead.type)) group.lead = line;
    const due = isDetection
      ? group.reported !== line.type
      : group.reported === null && group.lines >= SYMPTOMS_TO_REPORT;
    if (!due) return null;
    if (group.reported === null && line.sourceIp !== null)
      this.#incidentsBySource.set(line.sourceIp, (this.#incidentsBySource.get(line.sourceIp) ?? 0) + 1);
    group.reported = line.type;
    return {
      id: group.id,
      system: line.system,
      sourceIp: group.sourceIp,
      lead: group.lead,
      lines: group.lines,
      firstAtMs: group.firstAtMs,
      lastAtMs: group.lastAtMs,
      users: [...group.users].sort(),
    };
  }

  /** Lines of a system in the minute before its last one. */
  velocity(system: string): number {
    return this.#recent.get(system)?.length ?? 0;
  }

  /** Incidents of this source before the present one. */
  repeats(sourceIp: string | null): number {
    return sourceIp === null ? 0 : Math.max(0, (this.#incidentsBySource.get(sourceIp) ?? 0) - 1);
  }
}
