import type { FleetAgentRecord, RunResults } from '../../bench/types.ts';
import { agentsChart, endOf } from '../charts/agents.ts';
import { type Chart, type DrawnChart, figure } from '../charts/render.ts';
import { seriesCharts } from '../charts/series.ts';
import { drawnFleets, type FleetTrial, fleetName, fleetsOf } from '../fleets.ts';
import { formatBytes, formatCount, formatDuration } from '../text/format.ts';
import { type Html, html } from '../text/html.ts';
import { dataTable, type Section } from './parts.ts';

const LISTED_AGENTS = 40;
const LISTED_MARKS = 60;

/** Charts of the fleets that are drawn; their ids begin with "agents" and "series" and the fleet's letter. */
export function fleetCharts(results: RunResults): Chart[] {
  return drawnFleets(results).flatMap((of, index) => {
    const agents = agentsChart(of, `agents${letter(index)}`);
    return [...(agents === null ? [] : [agents]), ...seriesCharts(of, `series${letter(index)}`)];
  });
}

/** Who ran, for how long, what became of them and what they used. */
export function agentsSection(results: RunResults, charts: readonly DrawnChart[]): Section | null {
  const all = fleetsOf(results);
  const drawn = drawnFleets(results);
  if (drawn.length === 0) return null;
  return {
    id: 'agents',
    title: 'Agents',
    short: 'Agents',
    body: html`${drawn.map((of, index) => part(of, index, charts))}${
      all.length > drawn.length
        ? html`<p class="muted">The first ${formatCount(drawn.length)} of ${formatCount(all.length)} fleets; all are in results.json.</p>`
        : null
    }`,
  };
}

function part(of: FleetTrial, index: number, charts: readonly DrawnChart[]): Html {
  const own = charts.filter(
    ({ chart }) => chart.id === `agents${letter(index)}` || chart.id.startsWith(`series${letter(index)}`),
  );
  const { agents } = of.fleet;
  return html`<h3>${fleetName(of)}</h3>
${own.map((drawn) => figure(drawn, null))}
${markTable(of)}
${dataTable(
  `${formatCount(agents.length)} agents, their limits and what they used${agents.length > LISTED_AGENTS ? `; the first ${LISTED_AGENTS}` : ''}`,
  [
    { title: 'Agent' },
    { title: 'Program' },
    { title: 'Limits' },
    { title: 'Restart' },
    { title: 'Lives', numeric: true },
    { title: 'Ended' },
    { title: 'CPU', numeric: true },
    { title: 'Held back', numeric: true },
    { title: 'Peak memory', numeric: true },
  ],
  agents
    .slice(0, LISTED_AGENTS)
    .map((agent) => [
      agent.name,
      agent.program,
      limitsText(agent),
      agent.restartPolicy,
      formatCount(agent.lives.length),
      livesText(agent),
      formatDuration(agent.cpuMs),
      formatDuration(agent.throttledMs),
      formatBytes(agent.memoryPeakBytes),
    ]),
  `Agents of ${fleetName(of)}`,
  'dense loose',
)}`;
}

/** The marks of the timeline as text. */
function markTable({ fleet }: FleetTrial): Html | null {
  const { marks } = fleet;
  if (marks.length === 0) return null;
  return html`<details class="alternative"><summary>What happened, in order (${formatCount(marks.length)})</summary>${dataTable(
    marks.length > LISTED_MARKS ? `The first ${LISTED_MARKS}` : 'Phases, faults, limits, restarts, refusals',
    [{ title: 'At', numeric: true }, { title: 'Agent' }, { title: 'Kind' }, { title: 'What' }],
    marks
      .slice(0, LISTED_MARKS)
      .map(({ atMs, agent, kind, text }) => [
        formatDuration(Math.max(0, atMs)),
        agent ?? 'fleet',
        kind,
        text,
      ]),
    'What happened',
    'dense loose',
  )}</details>`;
}

function letter(index: number): string {
  return String.fromCharCode(97 + index);
}

function limitsText({ limits }: FleetAgentRecord): string {
  return Object.entries(limits)
    .map(
      ([name, value]) =>
        `${name} ${name === 'memory' && typeof value === 'number' ? formatBytes(value) : value}`,
    )
    .join(', ');
}

function livesText({ lives, escalated }: FleetAgentRecord): string {
  const ends = lives.slice(-4).map(endOf);
  return `${lives.length > 4 ? '… → ' : ''}${ends.join(' → ')}${escalated ? ', given up' : ''}`;
}
