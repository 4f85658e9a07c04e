import type { ActivityView, ViewEvent } from './view.ts';

/** Where what one agent did in two trials parts ways. */
export interface Divergence {
  readonly agent: string;
  /** Events that are the same, from the beginning. */
  readonly same: number;
  /** Indices of the agent's events in each view. */
  readonly a: readonly number[];
  readonly b: readonly number[];
  /** On the trial's own or its world's clock, whichever is earlier of the two events that differ; null = they do not differ. */
  readonly atMs: number | null;
}

/** Compares two trials, agent by agent: between agents the order may differ without anything being different. Sent to the page as source. */
export function compareTools() {
  /** What makes two events the same: not when, and not how long. */
  function signature({ kind, what, target, trouble }: ViewEvent): string {
    return [kind, what, target, trouble].join('\n');
  }

  function eventsOf(view: ActivityView, agent: string): number[] {
    const lane = view.lanes.indexOf(agent);
    return view.events.flatMap((event, index) => (event.lane === lane && lane >= 0 ? [index] : []));
  }

  /** All agents, those that part ways first first; then those that never do. */
  function divergences(a: ActivityView, b: ActivityView): Divergence[] {
    const agents = [...new Set([...a.lanes, ...b.lanes])];
    const timeOf = (view: ActivityView, index: number | undefined): number =>
      (index === undefined ? undefined : view.events[index]?.world) ?? Number.POSITIVE_INFINITY;
    const found = agents.map((agent): Divergence => {
      const ofA = eventsOf(a, agent);
      const ofB = eventsOf(b, agent);
      let same = 0;
      for (; same < ofA.length && same < ofB.length; same++) {
        const one = a.events[ofA[same] as number];
        const other = b.events[ofB[same] as number];
        if (one === undefined || other === undefined || signature(one) !== signature(other)) break;
      }
      const isSame = same === ofA.length && same === ofB.length;
      const atMs = Math.min(timeOf(a, ofA[same]), timeOf(b, ofB[same]));
      return { agent, same, a: ofA, b: ofB, atMs: isSame ? null : atMs };
    });
    return found.sort(
      (one, other) => (one.atMs ?? Number.POSITIVE_INFINITY) - (other.atMs ?? Number.POSITIVE_INFINITY) || 0,
    );
  }

  return { divergences, signature };
}

export type CompareTools = ReturnType<typeof compareTools>;
