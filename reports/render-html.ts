import type { RunResults } from '../bench/types.ts';
import { durationGroups, durationsChart } from './charts/durations.ts';
import { heatmapChart, heatmapOf } from './charts/heatmap.ts';
import { loadCharts } from './charts/load.ts';
import { type Chart, type DrawnChart, drawCharts } from './charts/render.ts';
import { runtimesChart } from './charts/runtimes.ts';
import { timeAxis } from './charts/time-axis.ts';
import { timelineChart } from './charts/timeline.ts';
import { fleetsOf } from './fleets.ts';
import { renderDocument } from './page/document.ts';
import { activitySection } from './sections/activity.ts';
import { agentsSection, fleetCharts } from './sections/agents.ts';
import { checksSection } from './sections/checks.ts';
import { comparison } from './sections/comparison.ts';
import { durationSection, loadSection, timelineSection } from './sections/course.ts';
import {
  environmentSection,
  isolationSection,
  methodSection,
  noticesSection,
  preparationsSection,
  reproduceSection,
} from './sections/environment.ts';
import { failuresSection } from './sections/failures.ts';
import { headline, VERDICT_TEXT } from './sections/headline.ts';
import type { Section } from './sections/parts.ts';
import { heatmapSection, leaderboardSection } from './sections/results.ts';
import { trialDiffSection } from './sections/trial-diff.ts';
import { pack, trialsSection } from './sections/trials.ts';
import { summarise } from './summary.ts';
import { html } from './text/html.ts';

/** A record larger than this, compressed, stays beside the report instead of inside. */
const EMBED_LIMIT_BYTES = 900_000;
const FEW_FLEETS = 4;

/** The whole of report.html: a pure function of the record, byte for byte the same every time. */
export async function renderHtml(results: RunResults): Promise<string> {
  const summary = summarise(results);
  const heatmap = heatmapOf(results, summary);
  const durations = durationGroups(results, summary);
  const axis = timeAxis(results);
  const fleets = fleetsOf(results);
  // A handful of fleets has no grid to look at: each is a story of its own.
  const hasGrid = fleets.length === 0 || (summary.primary?.trials ?? 0) > FEW_FLEETS;
  const wanted: (Chart | null)[] = [
    ...fleetCharts(results),
    hasGrid || summary.others.length > 0 ? runtimesChart(results) : null,
    heatmap === null || !hasGrid ? null : heatmapChart(results, heatmap),
    axis === null || !hasGrid ? null : timelineChart(results, axis),
    ...(axis === null ? [] : loadCharts(results, axis)),
    hasGrid ? durationsChart(durations.label, durations.groups) : null,
  ];
  const charts = await drawCharts(wanted.filter((chart) => chart !== null));
  const chart = (id: string): DrawnChart | undefined => charts.find((drawn) => drawn.chart.id === id);
  const activity = activitySection(results);
  const trials = trialsSection(results, summary, activity.recorded);
  const diff = trialDiffSection(results, activity.recorded);
  const record = pack('results', JSON.stringify(results));
  const embedded = record.bytes.length <= EMBED_LIMIT_BYTES;
  const sections: (Section | null)[] = [
    checksSection(results),
    activity.section,
    agentsSection(results, charts),
    comparison(results, summary, chart('runtimes') ?? null),
    hasGrid ? heatmapSection(results, summary, heatmap, chart('heatmap') ?? null) : null,
    hasGrid || (summary.primary?.trials ?? 0) > 1 ? leaderboardSection(results, summary) : null,
    timelineSection(chart('timeline')),
    loadSection(
      results,
      charts.filter((drawn) => ['cpu', 'memory', 'machine'].includes(drawn.chart.id)),
    ),
    durationSection(durations.label, durations.groups, chart('durations')),
    failuresSection(results, summary),
    trials.section,
    diff.section,
    noticesSection(results),
    isolationSection(results),
    preparationsSection(results),
    environmentSection(results),
    reproduceSection(results, embedded),
    methodSection(results),
  ];
  return renderDocument({
    title: `${VERDICT_TEXT[results.verdict.kind]}: ${results.scenario.title}`,
    headline: headline(results, summary),
    sections: sections.filter((section) => section !== null),
    charts,
    packs: [...activity.packs, ...diff.packs, ...trials.packs, ...(embedded ? [record] : [])],
    footer: html`<p>Drawn by Clove ${results.machine.clove} from the record of run <code>${results.runId}</code>. Report and record are self-contained: nothing is loaded from a network.</p>`,
  });
}
