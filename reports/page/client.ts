import type { ChartData, PageElement, PageGlobals, PageVega, PageView, TimeState } from './dom.ts';

/**
 * What report.html does when scripts run. These functions never run in Node: `clientScript` sends their source to the
 * page, so each may use only the others, its arguments and the browser. Everything works without them; they add
 * tooltips, zoom, filters and the drill-down of large runs.
 */

function pageGlobals(): PageGlobals {
  return globalThis as unknown as PageGlobals;
}

/** Text of a gzip block of the page. */
async function unpack(id: string): Promise<string> {
  const block = pageGlobals().document.getElementById(`pack-${id}`);
  if (block === null) throw new Error(`the page carries no block ${id}`);
  const binary = atob((block.textContent ?? '').trim());
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
}

function make(name: string, text = '', attributes: Record<string, string> = {}): PageElement {
  const element = pageGlobals().document.createElement(name);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function button(text: string, label: string, action: () => void): PageElement {
  const element = make('button', text, { type: 'button', 'aria-label': label, title: label });
  element.addEventListener('click', action);
  return element;
}

function choice(
  label: string,
  options: readonly (readonly [string, string])[],
  action: (value: string) => void,
) {
  const wrapper = make('label', `${label} `);
  const select = make('select');
  for (const [value, text] of options) select.append(make('option', text, { value }));
  select.addEventListener('change', () => action(select.value));
  wrapper.append(select);
  return wrapper;
}

/** Runs the chart library, which the page carries packed; its source is allowed by hash. */
async function loadVega(): Promise<PageVega> {
  const page = pageGlobals();
  if (page.vega === undefined) {
    const script = make('script', await unpack('vega'));
    page.document.body.append(script);
  }
  if (page.vega === undefined) throw new Error('the chart library did not start');
  return page.vega;
}

/** A tooltip that holds plain text only. */
function makeTooltip(): (
  handler: unknown,
  event: { clientX: number; clientY: number },
  item: unknown,
  value: unknown,
) => void {
  const page = pageGlobals();
  const tip = make('div', '', { class: 'tip', role: 'status' });
  tip.hidden = true;
  page.document.body.append(tip);
  page.addEventListener('scroll', () => {
    tip.hidden = true;
  });
  return (_handler, event, _item, value) => {
    tip.hidden = typeof value !== 'string' || value === '';
    if (tip.hidden) return;
    tip.textContent = value as string;
    const left = Math.min(event.clientX + 14, page.innerWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left)}px`;
    const above = event.clientY - tip.offsetHeight - 10;
    tip.style.top = `${above > 8 ? above : event.clientY + 18}px`;
  };
}

/** Redraws every chart over time as the shared state says. */
function showTime(time: TimeState): void {
  for (const view of time.views) {
    void view.signal('low', time.low).signal('high', time.high).signal('runtime', time.runtime).runAsync();
  }
  for (const select of time.selects) select.value = time.runtime;
}

function moveTime(time: TimeState, from: number, to: number): void {
  const whole = time.last - time.first;
  const span = Math.min(whole, Math.max(whole / 5000, to - from));
  time.low = Math.max(time.first, Math.min(from, time.last - span));
  time.high = time.low + span;
  showTime(time);
}

/** Keys, Ctrl with wheel, and dragging on one chart over time; answers the buttons that do the same. */
function steerTime(plot: PageElement, time: TimeState): PageElement[] {
  const scale = (factor: number, at = 0.5): void => {
    const centre = time.low + (time.high - time.low) * at;
    moveTime(time, centre - (centre - time.low) * factor, centre + (time.high - centre) * factor);
  };
  const shift = (part: number): void => {
    const step = (time.high - time.low) * part;
    moveTime(time, time.low + step, time.high + step);
  };
  const reset = (): void => moveTime(time, time.first, time.last);
  const keys: Record<string, () => void> = {
    '+': () => scale(0.6),
    '=': () => scale(0.6),
    '-': () => scale(1 / 0.6),
    ArrowLeft: () => shift(-0.25),
    ArrowRight: () => shift(0.25),
    '0': reset,
  };
  plot.addEventListener('keydown', (event) => {
    const action = Object.hasOwn(keys, event.key) ? keys[event.key] : undefined;
    if (action === undefined || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    action();
  });
  plot.addEventListener(
    'wheel',
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const box = plot.getBoundingClientRect();
      scale(event.deltaY < 0 ? 0.8 : 1.25, Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
    },
    { passive: false },
  );
  let grip: { x: number; low: number; high: number } | null = null;
  plot.addEventListener('pointerdown', (event) => {
    if (time.high - time.low < time.last - time.first)
      grip = { x: event.clientX, low: time.low, high: time.high };
  });
  plot.addEventListener('pointermove', (event) => {
    if (grip === null) return;
    const moved = ((grip.x - event.clientX) / plot.clientWidth) * (grip.high - grip.low);
    moveTime(time, grip.low + moved, grip.high + moved);
  });
  for (const end of ['pointerup', 'pointerleave', 'pointercancel']) {
    plot.addEventListener(end, () => {
      grip = null;
    });
  }
  return [
    button('+', 'Zoom in (key +, or Ctrl and wheel)', () => scale(0.6)),
    button('−', 'Zoom out (key −)', () => scale(1 / 0.6)),
    button('←', 'Earlier (left arrow)', () => shift(-0.25)),
    button('→', 'Later (right arrow)', () => shift(0.25)),
    button('All', 'Show the whole time (key 0)', reset),
  ];
}

/** Joins a live chart to the others over time. */
function joinTime(
  figure: PageElement,
  plot: PageElement,
  data: ChartData,
  view: PageView,
  time: TimeState,
): void {
  time.views.push(view);
  const buttons = steerTime(plot, time);
  plot.dataset.keys = 'true';
  plot.setAttribute('tabindex', '0');
  plot.setAttribute('aria-keyshortcuts', '+ - 0 ArrowLeft ArrowRight');
  const tools = figure.querySelector('.tools');
  if (!data.controls || tools === null) return;
  if (data.filter.length > 1) {
    const options = [['', 'all'], ...data.filter.map((name) => [name, name] as const)] as const;
    const label = choice('Runtime', options, (value) => {
      time.runtime = value;
      showTime(time);
    });
    const select = label.querySelector('select');
    if (select !== null) {
      select.value = time.runtime;
      time.selects.push(select);
    }
    tools.append(label);
  }
  tools.append(...buttons);
  tools.hidden = false;
}

/** Puts a live view in place of the static drawing; the drawing stays when anything goes wrong. */
async function enliven(
  figure: PageElement,
  data: ChartData,
  tooltip: unknown,
  time: TimeState,
): Promise<void> {
  const page = pageGlobals();
  const plot = figure.querySelector('.plot');
  if (plot === null) return;
  const vega = await loadVega();
  const place = make('div');
  const spec = data.fixedWidth
    ? data.vega
    : { ...data.vega, autosize: { type: 'fit-x', contains: 'padding' } };
  const view: PageView = new vega.View(vega.parse(spec, null, { ast: true }), {
    renderer: 'svg',
    container: place,
    hover: false,
    expr: page.vegaInterpreter,
    tooltip,
    logLevel: 1,
  });
  const widest = (): number => Math.max(300, plot.clientWidth);
  if (!data.fixedWidth) view.width(widest());
  await view.runAsync();
  plot.replaceChildren(place);
  figure.dataset.live = 'true';
  if (!data.fixedWidth) {
    let drawn = widest();
    new page.ResizeObserver(() => {
      if (Math.abs(widest() - drawn) < 2) return;
      drawn = widest();
      void view.width(drawn).runAsync();
    }).observe(plot);
  }
  if (data.zoom === null) return;
  const { low, high, runtime } = time;
  joinTime(figure, plot, data, view, time);
  if (low !== time.first || high !== time.last || runtime !== '') showTime(time);
}

function startCharts(): void {
  const page = pageGlobals();
  let charts: Promise<Record<string, ChartData>> | null = null;
  let tooltip: unknown = null;
  let time: TimeState | null = null;
  const observer = new page.IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        observer.unobserve(target);
        charts ??= unpack('charts').then((text) => JSON.parse(text) as Record<string, ChartData>);
        tooltip ??= makeTooltip();
        charts
          .then((all) => {
            const data = all[target.dataset.chart ?? ''];
            if (data === undefined) return undefined;
            const [first, last] = data.zoom ?? [0, 1];
            if (data.zoom !== null)
              time ??= { first, last, low: first, high: last, runtime: '', views: [], selects: [] };
            return enliven(target, data, tooltip, time as TimeState);
          })
          .catch((error: unknown) => {
            // The static drawing is still there and says the same.
            target.dataset.live = `failed: ${String(error)}`;
          });
      }
    },
    { rootMargin: '400px' },
  );
  for (const figure of page.document.querySelectorAll('figure[data-chart]')) observer.observe(figure);
}

/** Opens the drill-down that the address names ("#trial=exp_014"), unpacking it first in a large run. */
async function openTrial(): Promise<void> {
  const page = pageGlobals();
  let name: string;
  try {
    name = decodeURIComponent(page.location.hash.slice(1));
  } catch {
    return;
  }
  if (!name.startsWith('trial=')) return;
  const place = page.document.getElementById('trial-detail');
  if (place !== null) {
    const id = name.slice('trial='.length);
    const index = JSON.parse(await unpack('index')) as Record<string, number>;
    const chunk = Object.hasOwn(index, id) ? index[id] : undefined;
    if (chunk === undefined) {
      place.replaceChildren(make('p', `There is no experiment ${id} in this run.`));
      place.scrollIntoView({ block: 'center' });
      return;
    }
    const details = JSON.parse(await unpack(`details-${chunk}`)) as Record<string, string>;
    // Markup made and escaped when the report was drawn; the page's policy runs no script in it either.
    place.innerHTML = details[id] ?? '';
  }
  for (const found of page.document.querySelectorAll('details.found')) found.classList.remove('found');
  const element = page.document.getElementById(name);
  if (element === null) return;
  element.open = true;
  element.classList.add('found');
  element.scrollIntoView({ block: 'start' });
}

function sortValue(row: PageElement, column: number): number | string {
  const cell = [...row.children][column];
  const value = cell?.dataset.v;
  if (value !== undefined) return value === '' ? Number.NEGATIVE_INFINITY : Number(value);
  return cell?.textContent ?? '';
}

/** Search, filter, sorting and pages for the table of experiments. */
async function startTable(): Promise<void> {
  const page = pageGlobals();
  const table = page.document.getElementById('trial-table');
  const tools = page.document.getElementById('trial-tools');
  const caption = page.document.getElementById('trial-count');
  const body = table?.querySelector('tbody');
  if (!table || !tools || !body || !caption) return;
  let rows = [...body.children];
  if (table.dataset.packed) {
    const template = make('template');
    template.innerHTML = await unpack(table.dataset.packed);
    rows = [...template.content.children];
  }
  const entries = rows.map((row, order) => ({ row, order, text: (row.textContent ?? '').toLowerCase() }));
  const state = { query: '', kind: '', column: -1, descending: false, page: 0 };
  const size = 100;
  const earlier = button('←', 'Earlier page', () => turn(-1));
  const later = button('→', 'Next page', () => turn(1));
  const render = (): void => {
    const found = entries.filter(
      ({ row, text }) =>
        (state.kind === '' || row.dataset.state === state.kind) &&
        state.query.split(/\s+/).every((word) => text.includes(word)),
    );
    if (state.column >= 0) {
      const keyed = found.map((entry) => ({ entry, key: sortValue(entry.row, state.column) }));
      keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.entry.order - b.entry.order));
      if (state.descending) keyed.reverse();
      found.splice(0, found.length, ...keyed.map(({ entry }) => entry));
    }
    const pages = Math.max(1, Math.ceil(found.length / size));
    state.page = Math.min(Math.max(0, state.page), pages - 1);
    const from = state.page * size;
    body.replaceChildren(...found.slice(from, from + size).map(({ row }) => row));
    caption.textContent =
      found.length === 0
        ? 'No experiment matches'
        : `${from + 1} to ${Math.min(from + size, found.length)} of ${found.length} experiments`;
    earlier.disabled = state.page === 0;
    later.disabled = state.page === pages - 1;
    earlier.hidden = pages === 1;
    later.hidden = pages === 1;
  };
  const turn = (by: number): void => {
    state.page += by;
    render();
  };
  const search = make('input', '', {
    type: 'search',
    placeholder: 'e.g. herg svm',
    'aria-label': 'Search experiments',
  });
  search.addEventListener('input', () => {
    state.query = search.value.trim().toLowerCase();
    state.page = 0;
    render();
  });
  const kinds = [
    ['', 'all'],
    ['failed', 'failed somewhere'],
    ['retried', 'retried'],
    ['clean', 'clean'],
  ] as const;
  tools.append(
    search,
    choice('Show', kinds, (value) => {
      state.kind = value;
      state.page = 0;
      render();
    }),
    earlier,
    later,
  );
  const headers = [...table.querySelectorAll('thead th')];
  headers.forEach((header, column) => {
    const sorter = make('button', header.textContent ?? '', { type: 'button' });
    sorter.addEventListener('click', () => {
      state.descending = state.column === column ? !state.descending : header.classList.contains('num');
      state.column = column;
      for (const other of headers) other.removeAttribute('aria-sort');
      header.setAttribute('aria-sort', state.descending ? 'descending' : 'ascending');
      render();
    });
    header.replaceChildren(sorter);
  });
  caption.setAttribute('aria-live', 'polite');
  tools.hidden = false;
  render();
}

/** Theme switch, and the buttons to copy the command and save the record. */
function startButtons(): void {
  const page = pageGlobals();
  const root = page.document.documentElement;
  const theme = page.document.getElementById('theme');
  if (theme !== null) {
    theme.hidden = false;
    theme.append(
      button('◐', 'Switch between light and dark', () => {
        const dark =
          root.dataset.theme === undefined
            ? page.matchMedia('(prefers-color-scheme: dark)').matches
            : root.dataset.theme === 'dark';
        root.dataset.theme = dark ? 'light' : 'dark';
      }),
    );
  }
  const tools = page.document.getElementById('reproduce-tools');
  const command = page.document.getElementById('command');
  if (tools === null || command === null) return;
  const done = make('span', '', { role: 'status', class: 'muted' });
  const clipboard = (globalThis.navigator as { clipboard?: { writeText(text: string): Promise<void> } })
    .clipboard;
  if (clipboard !== undefined) {
    const copy = button('Copy command', 'Copy the command', () => {
      clipboard.writeText(command.textContent ?? '').then(
        () => {
          done.textContent = 'copied';
        },
        () => {
          done.textContent = 'the browser refused; select the text instead';
        },
      );
    });
    tools.append(copy);
  }
  if (page.document.getElementById('pack-results') !== null) {
    const save = button('Save results.json', 'Save the embedded record as results.json', () => {
      void unpack('results').then((text) => {
        const link = make('a');
        link.href = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
        link.download = 'results.json';
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      });
    });
    tools.append(save);
  }
  tools.append(done);
  tools.hidden = false;
}

/** Frames that scroll sideways are stops of the Tab key only while there is something to scroll, or keys to press. */
function startStops(): void {
  const page = pageGlobals();
  const observer = new page.ResizeObserver((entries) => {
    for (const { target } of entries) {
      const needed = target.scrollWidth > target.clientWidth || target.dataset.keys === 'true';
      if (needed) target.setAttribute('tabindex', '0');
      else target.removeAttribute('tabindex');
    }
  });
  for (const frame of page.document.querySelectorAll('.scroll')) observer.observe(frame);
}

/** Marks the section in view in the navigation. */
function startContents(): void {
  const page = pageGlobals();
  const links = new Map<string, PageElement>();
  for (const link of page.document.querySelectorAll('nav.contents a')) {
    links.set((link.getAttribute('href') ?? '').slice(1), link);
  }
  const observer = new page.IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        const link = links.get(target.id);
        if (isIntersecting) link?.setAttribute('aria-current', 'true');
        else link?.removeAttribute('aria-current');
      }
    },
    { rootMargin: '-20% 0px -80% 0px' },
  );
  for (const section of page.document.querySelectorAll('main > section')) observer.observe(section);
}

function startPage(): void {
  const page = pageGlobals();
  startButtons();
  startContents();
  startStops();
  startCharts();
  // Where a block cannot be unpacked, what the page shows by itself stays.
  const open = (): void => {
    openTrial().catch((error: unknown) => {
      const place = page.document.getElementById('trial-detail');
      if (place !== null) place.textContent = `Details cannot be unpacked here: ${String(error)}`;
    });
  };
  startTable().catch((error: unknown) => {
    const tools = page.document.getElementById('trial-tools');
    if (tools === null) return;
    tools.textContent = `The other rows cannot be unpacked here: ${String(error)}`;
    tools.hidden = false;
  });
  open();
  page.addEventListener('hashchange', open);
}

const FUNCTIONS: readonly ((...args: never[]) => unknown)[] = [
  pageGlobals,
  unpack,
  make,
  button,
  choice,
  loadVega,
  makeTooltip,
  showTime,
  moveTime,
  steerTime,
  joinTime,
  enliven,
  startCharts,
  openTrial,
  sortValue,
  startTable,
  startButtons,
  startContents,
  startStops,
  startPage,
];

/** The script of the page, as classic script source. */
export function clientScript(): string {
  return `(()=>{'use strict';\n${FUNCTIONS.map(String).join('\n')}\nstartPage();\n})()`;
}
