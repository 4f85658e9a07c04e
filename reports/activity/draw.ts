import type { ActivityView, ViewEvent } from './view.ts';

/** What of a trial's activity is to be seen. */
export interface ActivityWindow {
  /** On the chosen clock, ms. */
  readonly low: number;
  readonly high: number;
  /** In world time; else in the time of the trial. */
  readonly isWorld: boolean;
  /** Lanes and kinds that are hidden. */
  readonly hiddenLanes: readonly number[];
  readonly hiddenKinds: readonly string[];
  /** Index of the event that is marked; −1 = none. */
  readonly chosen: number;
  readonly width: number;
}

/**
 * Draws a trial's activity as SVG text. One function with everything in it: Node calls it for what stands in the page, and the page
 * is sent its source to draw again after a zoom or a filter. Colours are properties of the page.
 */
export function drawTools() {
  const LABELS = 168;
  const LANE = 26;
  const TOP = 8;
  const COLOURS: Readonly<Record<string, string>> = {
    message: '--rt-clove',
    network: '--rt-thread',
    file: '--rt-process',
    command: '--rt-sequential',
    model: '--rt-sequential',
    state: '--rt-python-pool',
    event: '--unmeasured',
    task: '--unmeasured',
    agent: '--ink',
    other: '--unmeasured',
  };
  /** Ways to draw a kind that can be told apart without colour: [top, bottom] of its tick in the lane. */
  const TICKS: Readonly<Record<string, readonly [number, number]>> = {
    message: [2, 20],
    network: [2, 10],
    file: [12, 20],
    command: [7, 15],
    model: [5, 17],
    state: [14, 20],
    event: [2, 7],
    task: [2, 7],
    agent: [0, 22],
    other: [9, 13],
  };
  const STEPS = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000,
    600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000,
  ];

  function escaped(text: string): string {
    return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
  }

  function cut(text: string, most: number): string {
    return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
  }

  function timeOf(event: { readonly at: number; readonly world: number }, isWorld: boolean): number {
    return isWorld ? event.world : event.at;
  }

  /** "08:00:07.05" on a world's clock, "4.79 s" on the trial's; as many digits as the step needs. */
  function timeText(view: ActivityView, ms: number, isWorld: boolean, stepMs = 1): string {
    const digits = stepMs >= 1000 ? 0 : stepMs >= 100 ? 1 : stepMs >= 10 ? 2 : 3;
    if (!isWorld || view.worldStartMs === null) return `${(ms / 1000).toFixed(digits)} s`;
    const time = new Date(view.worldStartMs + Math.round(ms)).toISOString();
    const days = Math.floor(ms / 86_400_000);
    return `${days > 0 ? `day ${days + 1} ` : ''}${time.slice(11, digits === 0 ? 19 : 20 + digits)}`;
  }

  function eventText(view: ActivityView, event: ViewEvent, isWorld: boolean): string {
    const target =
      event.target === '' ? '' : event.kind === 'message' ? ` → ${event.target}` : ` ${event.target}`;
    const note = event.note === '' ? '' : ` (${event.note})`;
    return `${timeText(view, timeOf(event, isWorld), isWorld)}  ${view.lanes[event.lane] ?? '?'}  ${event.kind}: ${event.what}${target}${note}`;
  }

  function shownLanes(view: ActivityView, hidden: readonly number[]): number[] {
    return view.lanes.map((_, lane) => lane).filter((lane) => !hidden.includes(lane));
  }

  /** Whether an event passes the filters; of a message, either side will do. */
  function passes(event: ViewEvent, window: ActivityWindow): boolean {
    const time = timeOf(event, window.isWorld);
    return (
      time >= window.low &&
      time <= window.high &&
      !window.hiddenKinds.includes(event.kind) &&
      !window.hiddenLanes.includes(event.lane)
    );
  }

  function ticksOf(
    low: number,
    high: number,
    most: number,
  ): { readonly step: number; readonly at: number[] } {
    const step = STEPS.find((each) => (high - low) / each <= most) ?? Math.ceil((high - low) / most);
    const at: number[] = [];
    for (let time = Math.ceil(low / step) * step; time <= high; time += step) at.push(time);
    return { step, at };
  }

  function xOf(window: ActivityWindow, time: number): number {
    const plot = window.width - LABELS - 12;
    return LABELS + ((time - window.low) / Math.max(1e-9, window.high - window.low)) * plot;
  }

  /** Which event is at a place of the drawing; −1 = none near. */
  function eventAt(view: ActivityView, window: ActivityWindow, x: number, y: number): number {
    const lane = shownLanes(view, window.hiddenLanes)[Math.floor((y - TOP) / LANE)];
    let best = -1;
    let distance = 7;
    view.events.forEach((event, index) => {
      if (event.lane !== lane || !passes(event, window)) return;
      const away = Math.abs(xOf(window, timeOf(event, window.isWorld)) - x);
      if (away < distance) {
        distance = away;
        best = index;
      }
    });
    return best;
  }

  function fixed(value: number): string {
    return String(Math.round(value * 10) / 10);
  }

  function timelineSvg(view: ActivityView, window: ActivityWindow): string {
    const lanes = shownLanes(view, window.hiddenLanes);
    const bottom = TOP + lanes.length * LANE;
    const out: string[] = [];
    const { step, at } = ticksOf(window.low, window.high, Math.max(2, (window.width - LABELS) / 110));
    for (const time of at) {
      const x = fixed(xOf(window, time));
      out.push(
        `<path d="M${x} ${TOP}V${bottom}" stroke="var(--line)"/><text x="${x}" y="${bottom + 16}" text-anchor="middle" fill="var(--ink-2)" font-size="12">${escaped(timeText(view, time, window.isWorld, step))}</text>`,
      );
    }
    const rows = new Map(lanes.map((lane, row) => [lane, TOP + row * LANE]));
    for (const [lane, y] of rows) {
      out.push(
        `<text x="${LABELS - 10}" y="${y + 16}" text-anchor="end" fill="var(--ink)" font-size="12.5">${escaped(cut(view.lanes[lane] ?? '', 22))}</text>`,
      );
    }
    const clamp = (time: number): number => Math.min(window.high, Math.max(window.low, time));
    for (const life of view.lives) {
      const y = rows.get(life.lane);
      const from = window.isWorld ? life.atWorld : life.at;
      const to = window.isWorld ? life.toWorld : life.to;
      if (y === undefined || to < window.low || from > window.high) continue;
      const x = xOf(window, clamp(from));
      out.push(
        `<rect x="${fixed(x)}" y="${y + 2}" width="${fixed(Math.max(1, xOf(window, clamp(to)) - x))}" height="22" rx="3" fill="var(--raised)" stroke="var(--line-strong)" stroke-width="0.6"/>`,
      );
    }
    // Ticks of one kind at one place are one: a drawing of thousands stays small, and looks the same.
    const paths = new Map<string, string[]>();
    const seen = new Set<string>();
    const troubles: string[] = [];
    view.events.forEach((event) => {
      const y = rows.get(event.lane);
      if (y === undefined || !passes(event, window)) return;
      const x = fixed(xOf(window, timeOf(event, window.isWorld)));
      const key = `${event.kind} ${event.lane} ${x} ${event.trouble}`;
      if (seen.has(key)) return;
      seen.add(key);
      if (event.trouble !== '') {
        troubles.push(
          event.trouble === 'refused'
            ? `M${Number(x) - 4} ${y + 21}h8l-4 -8z`
            : `M${Number(x) - 3} ${y + 10}l6 6m0 -6l-6 6`,
        );
        return;
      }
      const [from, to] = TICKS[event.kind] ?? [9, 13];
      const list = paths.get(event.kind) ?? [];
      list.push(`M${x} ${y + 2 + from}V${y + 2 + to}`);
      paths.set(event.kind, list);
    });
    for (const [kind, list] of paths)
      out.push(
        `<path d="${list.join('')}" stroke="var(${COLOURS[kind] ?? '--ink'})" stroke-width="2" fill="none"/>`,
      );
    if (troubles.length > 0)
      out.push(
        `<path d="${troubles.join('')}" stroke="var(--failed)" stroke-width="1.8" fill="var(--failed)" fill-opacity=".25"/>`,
      );
    for (const mark of view.marks) {
      const time = timeOf(mark, window.isWorld);
      const y = mark.lane < 0 ? TOP : rows.get(mark.lane);
      if (y === undefined || time < window.low || time > window.high) continue;
      const x = fixed(xOf(window, time));
      out.push(
        mark.lane < 0
          ? `<path d="M${x} ${TOP}V${bottom}" stroke="var(--ink-2)" stroke-dasharray="3 3"/>`
          : `<path d="M${x} ${y + 8}l5 5l-5 5l-5 -5z" stroke="var(--ink)" fill="var(--paper)"/>`,
      );
    }
    const chosen = view.events[window.chosen];
    const chosenY = chosen === undefined ? undefined : rows.get(chosen.lane);
    if (chosen !== undefined && chosenY !== undefined && passes(chosen, window))
      out.push(
        `<circle cx="${fixed(xOf(window, timeOf(chosen, window.isWorld)))}" cy="${chosenY + 13}" r="9" fill="none" stroke="var(--accent)" stroke-width="2.5"/>`,
      );
    const height = bottom + 26;
    return `<svg aria-hidden="true" focusable="false" width="${window.width}" height="${height}" viewBox="0 0 ${window.width} ${height}">${out.join('')}</svg>`;
  }

  /** Indices of the messages that pass, in their order. */
  function messagesIn(view: ActivityView, window: ActivityWindow, type: string): number[] {
    return view.events.flatMap((event, index) => {
      if (event.kind !== 'message' || (type !== '' && event.what !== type)) return [];
      const time = timeOf(event, window.isWorld);
      const isShown =
        !window.hiddenLanes.includes(event.lane) &&
        (event.to < 0 || !window.hiddenLanes.includes(event.to)) &&
        time >= window.low &&
        time <= window.high;
      return isShown ? [index] : [];
    });
  }

  /** Lifelines and arrows of some messages. */
  function sequenceSvg(view: ActivityView, messages: readonly number[], window: ActivityWindow): string {
    const events = messages.flatMap((index) => view.events[index] ?? []);
    const isAll = events.some(({ to, target }) => to < 0 && target === '*');
    const used = view.lanes
      .map((_, lane) => lane)
      .filter((lane) => isAll || events.some((event) => event.lane === lane || event.to === lane));
    const times = 104;
    const gap = Math.max(116, (window.width - times - 60) / Math.max(1, used.length));
    const width = Math.max(window.width, Math.round(times + gap * used.length));
    const place = new Map(used.map((lane, index) => [lane, times + gap * (index + 0.5)]));
    const head = 46;
    const row = 24;
    const bottom = head + events.length * row + 10;
    const out: string[] = [];
    for (const [lane, x] of place) {
      const words = (view.lanes[lane] ?? '').split(/(?<=[-_ ])/);
      const middle = Math.ceil(words.length / 2);
      const lines =
        (view.lanes[lane] ?? '').length > 14 && words.length > 1
          ? [words.slice(0, middle).join(''), words.slice(middle).join('')]
          : [view.lanes[lane] ?? ''];
      out.push(
        `<path d="M${fixed(x)} ${head - 4}V${bottom}" stroke="var(--line-strong)" stroke-dasharray="2 3"/>`,
        ...lines.map(
          (line, index) =>
            `<text x="${fixed(x)}" y="${head - 12 - (lines.length - 1 - index) * 14}" text-anchor="middle" font-size="12.5" font-weight="600" fill="var(--ink)">${escaped(cut(line, 17))}</text>`,
        ),
      );
    }
    let last = '';
    events.forEach((event, index) => {
      const y = head + index * row + 18;
      const from = place.get(event.lane) ?? times;
      const colour = event.trouble === '' ? '--rt-clove' : '--failed';
      const time = timeText(view, timeOf(event, window.isWorld), window.isWorld, 10);
      if (time !== last)
        out.push(`<text x="0" y="${y + 3}" font-size="11.5" fill="var(--ink-2)">${escaped(time)}</text>`);
      last = time;
      const to = place.get(event.to);
      const label = `${cut(event.what, 34)}${event.trouble === '' ? '' : ` (${event.trouble})`}`;
      if (to === undefined || to === from) {
        const self = to === from ? `M${fixed(from)} ${y - 8}h26v9h-20` : `M${fixed(from)} ${y}h26`;
        out.push(
          `<path d="${self}" fill="none" stroke="var(${colour})" stroke-width="1.6"/><circle cx="${fixed(from)}" cy="${to === from ? y - 8 : y}" r="3" fill="var(${colour})"/><text x="${fixed(from + 32)}" y="${y + 1}" font-size="11.5" fill="var(--ink)">${escaped(to === from ? label : `${label} → ${cut(event.target, 16)}`)}</text>`,
        );
        return;
      }
      const direction = to > from ? 1 : -1;
      const end = to - direction * 2;
      out.push(
        `<path d="M${fixed(from)} ${y}H${fixed(end - direction * 6)}" stroke="var(${colour})" stroke-width="1.6"${event.trouble === '' ? '' : ' stroke-dasharray="5 3"'}/><path d="M${fixed(end)} ${y}l${-direction * 8} -4v8z" fill="var(${colour})"/><circle cx="${fixed(from)}" cy="${y}" r="3" fill="var(${colour})"/><text x="${fixed((from + to) / 2)}" y="${y - 5}" text-anchor="middle" font-size="11.5" fill="var(--ink)" stroke="var(--paper)" stroke-width="3" paint-order="stroke">${escaped(label)}</text>`,
      );
    });
    return `<svg aria-hidden="true" focusable="false" width="${width}" height="${bottom + 4}" viewBox="0 0 ${width} ${bottom + 4}">${out.join('')}</svg>`;
  }

  return {
    COLOURS,
    escaped,
    eventAt,
    eventText,
    messagesIn,
    passes,
    sequenceSvg,
    shownLanes,
    timeOf,
    timelineSvg,
    timeText,
  };
}

export type DrawTools = ReturnType<typeof drawTools>;
