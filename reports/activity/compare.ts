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
  const LINES = 400;

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

  /**
   * Two texts side by side, line by line: equal lines stand in one row, null = only the other has this line. By the longest common
   * subsequence of the last LINES of each.
   */
  function alignLines(a: readonly string[], b: readonly string[]): [string | null, string | null][] {
    const one = a.slice(-LINES);
    const other = b.slice(-LINES);
    const width = other.length + 1;
    // common[i * width + j]: length of the longest of one[i…] and other[j…].
    const common = new Uint16Array((one.length + 1) * width);
    for (let i = one.length - 1; i >= 0; i--)
      for (let j = other.length - 1; j >= 0; j--)
        common[i * width + j] =
          one[i] === other[j]
            ? (common[(i + 1) * width + j + 1] as number) + 1
            : Math.max(common[(i + 1) * width + j] as number, common[i * width + j + 1] as number);
    const rows: [string | null, string | null][] = [];
    let i = 0;
    let j = 0;
    while (i < one.length || j < other.length) {
      if (i < one.length && j < other.length && one[i] === other[j])
        rows.push([one[i++] as string, other[j++] as string]);
      else if (
        j >= other.length ||
        (i < one.length && (common[(i + 1) * width + j] as number) >= (common[i * width + j + 1] as number))
      )
        rows.push([one[i++] as string, null]);
      else rows.push([null, other[j++] as string]);
    }
    return rows;
  }

  return { alignLines, divergences, signature };
}

export type CompareTools = ReturnType<typeof compareTools>;
