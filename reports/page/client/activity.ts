import type { ActivityWindow, DrawTools } from '../../activity/draw.ts';
import type { ActivityView } from '../../activity/view.ts';
import type { PageElement, PageView, TimeState } from '../dom.ts';
import type { BaseTools } from './base.ts';
import type { ChartTools } from './charts.ts';
import type { TimeTools } from './time.ts';

/** One trial's activity: zoom, filters, what is under the pointer, messages in pages, and other trials. */
export function activityTools(
  { button, choice, make, pageGlobals, unpack }: BaseTools,
  { makeTooltip }: ChartTools,
  { steerTime }: TimeTools,
  draw: DrawTools,
) {
  const MESSAGES = 30;
  const EVENTS = 60;

  interface State {
    isWorld: boolean;
    hiddenLanes: number[];
    hiddenKinds: string[];
    chosen: number;
    type: string;
    messagePage: number;
    eventPage: number;
  }

  function toggled<Item>(list: readonly Item[], item: Item): Item[] {
    return list.includes(item) ? list.filter((each) => each !== item) : [...list, item];
  }

  /** Check boxes behind a summary that says how many of them are on. */
  function filterBox(
    name: string,
    items: readonly string[],
    toggle: (index: number) => void,
  ): { readonly box: PageElement; readonly tell: (hidden: number) => void } {
    const box = make('details', '', { class: 'filter' });
    const summary = make('summary');
    const tell = (hidden: number): void => {
      summary.textContent =
        hidden === 0
          ? `${name}: all ${items.length}`
          : `${name}: ${items.length - hidden} of ${items.length}`;
    };
    const list = make('div', '', { class: 'boxes', role: 'group', 'aria-label': name });
    items.forEach((item, index) => {
      const label = make('label');
      const input = make('input', '', { type: 'checkbox' });
      input.checked = true;
      input.addEventListener('change', () => toggle(index));
      label.append(input, ` ${item}`);
      list.append(label);
    });
    box.append(summary, list);
    tell(0);
    return { box, tell };
  }

  function wire(part: PageElement, view: ActivityView, tooltip: ReturnType<typeof makeTooltip>): void {
    const page = pageGlobals();
    const figure = part.querySelector('#activity-timeline');
    const plot = figure?.querySelector('.plot');
    const tools = figure?.querySelector('.tools');
    const told = figure?.querySelector('.chosen');
    if (!figure || !plot || !tools || !told) return;
    const state: State = {
      isWorld: view.worldStartMs !== null,
      hiddenLanes: [],
      hiddenKinds: [],
      chosen: -1,
      type: '',
      messagePage: 0,
      eventPage: 0,
    };
    const end = (): number => Math.max(1, state.isWorld ? view.endWorldMs : view.endMs);
    const redraw: PageView = {
      signal: () => redraw,
      width: () => redraw,
      runAsync: () => {
        render();
        return Promise.resolve(redraw);
      },
    };
    const time: TimeState = {
      first: 0,
      last: end(),
      low: 0,
      high: end(),
      runtime: '',
      views: [redraw],
      selects: [],
    };
    const window = (width = Math.max(640, plot.clientWidth)): ActivityWindow => ({
      low: time.low,
      high: time.high,
      isWorld: state.isWorld,
      hiddenLanes: state.hiddenLanes,
      hiddenKinds: state.hiddenKinds,
      chosen: state.chosen,
      width,
    });
    const messages = startMessages(part, view, state, window);
    const table = startEvents(part, view, state, window);
    const tell = (): void => {
      const event = view.events[state.chosen];
      told.textContent =
        event === undefined
          ? 'Point at an event, or step through them with the keys n and p. + − 0 and the arrow keys zoom and move.'
          : draw.eventText(view, event, state.isWorld);
    };
    const render = (): void => {
      plot.innerHTML = draw.timelineSvg(view, window());
      messages();
      table();
      tell();
    };
    const filtered = (): void => {
      state.messagePage = 0;
      state.eventPage = 0;
      lanes.tell(state.hiddenLanes.length);
      kinds.tell(state.hiddenKinds.length);
      render();
    };
    const step = (by: number): void => {
      const shown = view.events
        .map((_, index) => index)
        .filter((index) => {
          const event = view.events[index];
          return event !== undefined && draw.passes(event, window());
        });
      if (shown.length === 0) return;
      const next =
        by > 0
          ? shown.find((index) => index > state.chosen)
          : shown.findLast((index) => index < state.chosen);
      state.chosen = next ?? (by > 0 ? (shown[0] as number) : (shown.at(-1) as number));
      render();
    };
    const near = (clientX: number, clientY: number): number => {
      const svg = plot.querySelector('svg');
      if (svg === null) return -1;
      const box = svg.getBoundingClientRect();
      return draw.eventAt(view, window(), clientX - box.left, clientY - box.top);
    };
    plot.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || (event.key !== 'n' && event.key !== 'p')) return;
      event.preventDefault();
      step(event.key === 'n' ? 1 : -1);
    });
    plot.addEventListener('pointermove', (event) => {
      const found = view.events[near(event.clientX, event.clientY)];
      tooltip(null, event, null, found === undefined ? '' : draw.eventText(view, found, state.isWorld));
    });
    plot.addEventListener('pointerleave', (event) => tooltip(null, event, null, ''));
    plot.addEventListener('click', (event) => {
      const found = near(event.clientX, event.clientY);
      if (found < 0) return;
      state.chosen = found;
      render();
    });
    const lanes = filterBox('Agents', view.lanes, (lane) => {
      state.hiddenLanes = toggled(state.hiddenLanes, lane);
      filtered();
    });
    const kinds = filterBox('Kinds', view.kinds, (kind) => {
      state.hiddenKinds = toggled(state.hiddenKinds, view.kinds[kind] as string);
      filtered();
    });
    const clocks =
      view.worldStartMs === null
        ? []
        : [
            choice(
              'Clock',
              [
                ['world', 'world time'],
                ['real', 'real time'],
              ],
              (value) => {
                state.isWorld = value === 'world';
                Object.assign(time, { last: end(), low: 0, high: end() });
                render();
              },
            ),
          ];
    tools.replaceChildren(
      ...clocks,
      lanes.box,
      kinds.box,
      ...steerTime(plot, time),
      button('‹', 'Earlier event (key p)', () => step(-1)),
      button('›', 'Next event (key n)', () => step(1)),
    );
    tools.hidden = false;
    plot.dataset.keys = 'true';
    plot.setAttribute('tabindex', '0');
    plot.setAttribute('aria-keyshortcuts', '+ - 0 ArrowLeft ArrowRight n p');
    let drawn = plot.clientWidth;
    new page.ResizeObserver(() => {
      if (Math.abs(plot.clientWidth - drawn) < 2) return;
      drawn = plot.clientWidth;
      render();
    }).observe(plot);
    render();
    figure.dataset.live = 'true';
  }

  /** The sequence diagram, in pages; answers how to draw it again. */
  function startMessages(
    part: PageElement,
    view: ActivityView,
    state: State,
    window: (width?: number) => ActivityWindow,
  ): () => void {
    const figure = part.querySelector('#activity-messages');
    const plot = figure?.querySelector('.plot');
    const tools = figure?.querySelector('.tools');
    const count = part.querySelector('#activity-messages-count');
    if (!figure || !plot || !tools || !count) return () => {};
    const turn = (by: number): void => {
      state.messagePage += by;
      render();
    };
    const earlier = button('←', 'Earlier messages', () => turn(-1));
    const later = button('→', 'Later messages', () => turn(1));
    const types = [...new Set(view.events.flatMap(({ kind, what }) => (kind === 'message' ? [what] : [])))];
    const type = choice(
      'Type',
      [['', 'all'], ...types.sort().map((name) => [name, name] as const)],
      (value) => {
        state.type = value;
        state.messagePage = 0;
        render();
      },
    );
    const render = (): void => {
      const shown = draw.messagesIn(view, window(), state.type);
      const pages = Math.max(1, Math.ceil(shown.length / MESSAGES));
      state.messagePage = Math.min(Math.max(0, state.messagePage), pages - 1);
      const from = state.messagePage * MESSAGES;
      const some = shown.slice(from, from + MESSAGES);
      plot.innerHTML =
        some.length === 0 ? '' : draw.sequenceSvg(view, some, window(Math.max(640, plot.clientWidth)));
      count.textContent =
        some.length === 0
          ? 'No message in what the timeline shows'
          : `${from + 1} to ${from + some.length} of ${shown.length} messages, as the timeline above is zoomed and filtered`;
      earlier.disabled = state.messagePage === 0;
      later.disabled = state.messagePage === pages - 1;
    };
    tools.replaceChildren(type, earlier, later);
    tools.hidden = false;
    figure.dataset.live = 'true';
    return render;
  }

  /** Every event as a table, in pages; answers how to fill it again. */
  function startEvents(
    part: PageElement,
    view: ActivityView,
    state: State,
    window: () => ActivityWindow,
  ): () => void {
    const box = part.querySelector('#activity-table');
    const tools = box?.querySelector('.tools');
    const caption = box?.querySelector('caption');
    const head = box?.querySelector('thead tr');
    const body = box?.querySelector('tbody');
    if (!box || !tools || !caption || !head || !body) return () => {};
    const titles = ['At', 'Agent', 'Kind', 'What', 'To or where', 'What came of it'];
    head.replaceChildren(...titles.map((title) => make('th', title, { scope: 'col' })));
    const turn = (by: number): void => {
      state.eventPage += by;
      render();
    };
    const earlier = button('←', 'Earlier events', () => turn(-1));
    const later = button('→', 'Later events', () => turn(1));
    const render = (): void => {
      // Thousands of rows that nobody looks at are not made.
      if (!box.open) return;
      const shown = view.events.filter((event) => draw.passes(event, window()));
      const pages = Math.max(1, Math.ceil(shown.length / EVENTS));
      state.eventPage = Math.min(Math.max(0, state.eventPage), pages - 1);
      const from = state.eventPage * EVENTS;
      const some = shown.slice(from, from + EVENTS);
      body.replaceChildren(
        ...some.map((event) => {
          const row = make('tr');
          row.append(
            make('th', draw.timeText(view, draw.timeOf(event, state.isWorld), state.isWorld), {
              scope: 'row',
            }),
            make('td', view.lanes[event.lane] ?? ''),
            make('td', event.kind),
            make('td', event.what),
            make('td', event.target),
            make('td', event.note),
          );
          return row;
        }),
      );
      caption.textContent =
        some.length === 0
          ? 'No event in what the timeline shows'
          : `${from + 1} to ${from + some.length} of ${shown.length} events`;
      earlier.disabled = state.eventPage === 0;
      later.disabled = state.eventPage === pages - 1;
    };
    box.addEventListener('toggle', render);
    tools.replaceChildren(earlier, later);
    tools.hidden = false;
    return render;
  }

  async function startActivity(): Promise<void> {
    const page = pageGlobals();
    const part = page.document.getElementById('activity-part');
    const tools = page.document.getElementById('activity-choice');
    const select = page.document.getElementById('activity-trial');
    if (part === null || tools === null || select === null) return;
    const landing = page.document.querySelector('[data-activity]');
    const tooltip = makeTooltip();
    const show = async (index: string, isFirst: boolean): Promise<void> => {
      const text = await unpack(`activity-${index}`);
      const { html, view } = JSON.parse(text) as { html: string; view: ActivityView };
      // Markup made and escaped when the report was drawn; the page's policy runs no script in it either.
      if (!isFirst) part.innerHTML = html;
      // So that a link to the trial that is shown leads to it.
      if (landing !== null) landing.id = `activity=${view.id}`;
      wire(part, view, tooltip);
    };
    const options = [...select.querySelectorAll('option')];
    const open = async (): Promise<boolean> => {
      const hash = page.location.hash.slice(1);
      const wanted = options.find((option) => `activity=${option.dataset.id}` === hash);
      if (wanted === undefined) return false;
      select.value = wanted.value;
      await show(wanted.value, false);
      part.scrollIntoView({ block: 'start' });
      return true;
    };
    select.addEventListener('change', () => void show(select.value, false));
    page.addEventListener('hashchange', () => void open());
    tools.hidden = options.length < 2;
    if (!(await open())) await show('0', true);
  }

  return { startActivity };
}

export type ActivityTools = ReturnType<typeof activityTools>;
