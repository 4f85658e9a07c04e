import type { ChartData, PageElement, PageVega, PageView, TimeState } from '../dom.ts';
import type { BaseTools } from './base.ts';
import type { TimeTools } from './time.ts';

/** Live charts in place of the static drawings. */
export function chartTools({ make, pageGlobals, unpack }: BaseTools, { joinTime, showTime }: TimeTools) {
  let vega: Promise<PageVega> | null = null;
  let charts: Promise<Record<string, ChartData>> | null = null;

  /**
   * Runs the chart library, which the page carries packed; its source is allowed by hash. Once, however many charts come
   * into view together: every copy would count the ids of its clip paths from 1, and charts would be cut as others are.
   */
  function loadVega(): Promise<PageVega> {
    vega ??= unpack('vega')
      .then((source) => {
        const page = pageGlobals();
        page.document.body.append(make('script', source));
        if (page.vega === undefined) throw new Error('the chart library did not start');
        return page.vega;
      })
      .catch((error: unknown) => {
        // What failed for one chart, for want of memory perhaps, may succeed for the next.
        vega = null;
        throw error;
      });
    return vega;
  }

  function loadCharts(): Promise<Record<string, ChartData>> {
    charts ??= unpack('charts')
      .then((text) => JSON.parse(text) as Record<string, ChartData>)
      .catch((error: unknown) => {
        charts = null;
        throw error;
      });
    return charts;
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
    const library = await loadVega();
    const place = make('div');
    const spec = data.fixedWidth
      ? data.vega
      : { ...data.vega, autosize: { type: 'fit-x', contains: 'padding' } };
    const view: PageView = new library.View(library.parse(spec, null, { ast: true }), {
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
    let tooltip: unknown = null;
    let time: TimeState | null = null;
    const observer = new page.IntersectionObserver(
      (entries) => {
        for (const { isIntersecting, target } of entries) {
          if (!isIntersecting) continue;
          observer.unobserve(target);
          tooltip ??= makeTooltip();
          loadCharts()
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

  return { makeTooltip, startCharts };
}

export type ChartTools = ReturnType<typeof chartTools>;
