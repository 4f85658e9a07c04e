import { button, choice, make, pageGlobals, unpack } from './base.ts';
import { enliven, loadVega, makeTooltip, startCharts } from './charts.ts';
import { startButtons, startContents, startStops } from './controls.ts';
import { joinTime, moveTime, showTime, steerTime } from './time.ts';
import { openTrial, sortValue, startTable } from './trials.ts';

/**
 * What report.html does when scripts run. These functions never run in Node: `clientScript` sends their source to the
 * page, so each may use only the others, its arguments and the browser. Everything works without them; they add
 * tooltips, zoom, filters and the drill-down of large runs.
 */
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
