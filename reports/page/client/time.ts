import type { ChartData, PageElement, PageView, TimeState } from '../dom.ts';
import type { BaseTools } from './base.ts';

/** Pan and zoom of the charts over the run's time, which move together. */
export function timeTools({ button, choice }: BaseTools) {
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
        scale(
          event.deltaY < 0 ? 0.8 : 1.25,
          Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)),
        );
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

  return { joinTime, showTime, steerTime };
}

export type TimeTools = ReturnType<typeof timeTools>;
