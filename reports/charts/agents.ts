import type { AgentLife, FleetMark } from '../../bench/types.ts';
import { type FleetTrial, fleetName } from '../fleets.ts';
import { formatDuration, plural } from '../text/format.ts';
import { visibleLine } from '../text/visible.ts';
import { type Chart, STATIC_WIDTH, TOOLTIP } from './render.ts';

const LANES = 60;
const MARKS = 300;
const WHOLE_FLEET = 'fleet';
const CLASSES = ['ended well or runs', 'failed or was killed'] as const;
const CLASS_COLOUR = ['--passed', '--failed'] as const;

/** The lives of a fleet's agents, one lane each, with what happened to them. */
export function agentsChart(of: FleetTrial, id: string): Chart | null {
  const { fleet, attempt } = of;
  const agents = fleet.agents.slice(0, LANES);
  if (agents.length === 0) return null;
  const endMs = attempt.usage.wallMs;
  const marks = fleet.marks.slice(0, MARKS);
  const hasCommon = marks.some(({ agent }) => agent === null);
  const lanes = [...(hasCommon ? [WHOLE_FLEET] : []), ...agents.map(({ name }) => lane(name))];
  const bars = agents.flatMap(({ name, lives }) =>
    lives.map((life, index) => ({
      lane: lane(name),
      from: seconds(life.fromMs),
      to: seconds(life.toMs ?? endMs),
      outcome: isBad(life) ? CLASSES[1] : CLASSES[0],
      tip: `${lane(name)}, life ${index + 1}\n${endOf(life)}\nafter ${formatDuration((life.toMs ?? endMs) - life.fromMs)}`,
    })),
  );
  const points = marks.map((mark) => ({
    lane: mark.agent === null ? WHOLE_FLEET : lane(mark.agent),
    at: seconds(Math.max(0, mark.atMs)),
    tip: `${mark.kind}: ${visibleLine(mark.text)}\nat ${formatDuration(mark.atMs)}`,
  }));
  const crosses = bars.filter(({ outcome }) => outcome === CLASSES[1]);
  return {
    id,
    title: 'Agents over time',
    description: `${fleetName(of)}: ${plural(fleet.agents.length, 'agent')}, ${plural(bars.length, 'life', 'lives')}, ${plural(crosses.length, 'of them ended badly', 'of them ended badly')}. ${markText(marks)}`,
    zoom: null,
    controls: false,
    filter: [],
    fixedWidth: false,
    legend: [
      ...CLASSES.map((label, index) => ({
        label,
        colour: CLASS_COLOUR[index] as string,
        shape: 'box' as const,
      })).filter(({ label }) => bars.some(({ outcome }) => outcome === label)),
      ...(crosses.length > 0 ? [{ label: 'ended badly', colour: '--ink', shape: 'cross' as const }] : []),
    ],
    spec: {
      width: STATIC_WIDTH - 150,
      height: { step: lanes.length > 24 ? 13 : 24 },
      data: { name: 'bars', values: bars },
      encoding: {
        y: {
          field: 'lane',
          type: 'nominal',
          title: null,
          scale: { domain: lanes, paddingInner: 0.3 },
          axis: { ticks: false, domain: false, grid: false, minExtent: 120 },
        },
      },
      layer: [
        {
          mark: { type: 'bar', clip: true, stroke: 'var(--paper)', strokeWidth: 0.6 },
          encoding: {
            x: {
              field: 'from',
              type: 'quantitative',
              title: 'seconds since the trial began',
              scale: { zero: true, nice: false, domainMax: seconds(endMs) },
              axis: { tickCount: 8 },
            },
            x2: { field: 'to' },
            fill: {
              field: 'outcome',
              type: 'nominal',
              legend: null,
              scale: { domain: [...CLASSES], range: CLASS_COLOUR.map((colour) => `var(${colour})`) },
            },
            tooltip: TOOLTIP,
          },
        },
        {
          data: { name: 'crosses', values: crosses },
          mark: { type: 'point', shape: 'M-1,-1L1,1M-1,1L1,-1', size: 55, strokeWidth: 2, clip: true },
          encoding: {
            x: { field: 'to', type: 'quantitative' },
            stroke: { value: 'var(--ink)' },
            fill: { value: 'transparent' },
            tooltip: TOOLTIP,
          },
        },
        {
          data: { name: 'marks', values: points },
          mark: { type: 'point', shape: 'diamond', size: 45, clip: true, strokeWidth: 1.2 },
          encoding: {
            x: { field: 'at', type: 'quantitative' },
            stroke: { value: 'var(--ink)' },
            fill: { value: 'var(--paper)' },
            tooltip: TOOLTIP,
          },
        },
      ],
    },
  };
}

function lane(name: string): string {
  return visibleLine(name).slice(0, 40);
}

function seconds(ms: number): number {
  return Math.round(ms) / 1000;
}

function isBad({ reason, exitCode }: AgentLife): boolean {
  return reason !== null && reason !== 'killed' && !(reason === 'exited' && exitCode === 0);
}

/** How one life ended, in words. */
export function endOf({ reason, exitCode, signal }: AgentLife): string {
  if (reason === null) return 'runs at the end of the trial';
  if (reason === 'oom') return 'killed by its memory limit';
  return signal === null
    ? `exit ${exitCode ?? '?'}`
    : `${reason === 'killed' ? 'ended' : 'died'} by ${visibleLine(signal)}`;
}

function markText(marks: readonly FleetMark[]): string {
  return marks.length === 0 ? '' : `${plural(marks.length, 'mark')} of faults, limits, restarts and phases.`;
}
