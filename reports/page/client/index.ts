import { compareTools } from '../../activity/compare.ts';
import { drawTools } from '../../activity/draw.ts';
import { type ActivityTools, activityTools } from './activity.ts';
import { type BaseTools, baseTools } from './base.ts';
import { type ChartTools, chartTools } from './charts.ts';
import { type ControlTools, controlTools } from './controls.ts';
import { type DiffTools, diffTools } from './diff.ts';
import { timeTools } from './time.ts';
import { type TrialTools, trialTools } from './trials.ts';

/**
 * What report.html does when scripts run. These functions never run in Node: `clientScript` sends their source to the
 * page, so each is whole by itself: it uses only what it is given, and the browser. Everything works without them; they add
 * tooltips, zoom, filters and the drill-down of large runs.
 */
function startPage(
  { pageGlobals }: BaseTools,
  { startCharts }: ChartTools,
  { openTrial, startTable }: TrialTools,
  { startButtons, startContents, startStops }: ControlTools,
  { startActivity }: ActivityTools,
  { startDiff }: DiffTools,
): void {
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
  startDiff().catch((error: unknown) => {
    const part = page.document.getElementById('compare-part');
    if (part !== null) part.textContent = `Trials cannot be unpacked here: ${String(error)}`;
  });
  startActivity().catch((error: unknown) => {
    const tools = page.document.getElementById('activity-choice');
    if (tools === null) return;
    tools.textContent = `What happened cannot be unpacked here: ${String(error)}`;
    tools.hidden = false;
  });
  open();
  page.addEventListener('hashchange', open);
}

/** The script of the page, as classic script source. */
export function clientScript(): string {
  return `(()=>{'use strict';
const base=(${baseTools})();
const time=(${timeTools})(base);
const charts=(${chartTools})(base,time);
const trials=(${trialTools})(base);
const controls=(${controlTools})(base);
const draw=(${drawTools})();
const activity=(${activityTools})(base,charts,time,draw);
const diff=(${diffTools})(base,draw,(${compareTools})());
(${startPage})(base,charts,trials,controls,activity,diff);
})()`;
}
