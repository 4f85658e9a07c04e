import type { FleetActivity, RunResults } from '../../bench/types.ts';
import { drawTools } from '../activity/draw.ts';
import { type ActivityView, activityView, viewId } from '../activity/view.ts';
import { STATIC_WIDTH } from '../charts/render.ts';
import { type FleetTrial, fleetName, fleetsOf } from '../fleets.ts';
import { formatBytes, formatCount, formatDuration, plural } from '../text/format.ts';
import { type Html, html, identifier, markup } from '../text/html.ts';
import { type Column, dataTable, type Section } from './parts.ts';
import { type Pack, pack } from './trials.ts';

/** Compressed, of all trials; what finds no room is in results.json. */
const PACK_LIMIT_BYTES = 1_500_000;
const TRIAL_LIMIT = 2000;
/** Of what stands in the page for readers without scripts, besides the first trial: characters and trials. */
const NO_SCRIPT_LIMIT = 1_000_000;
const NO_SCRIPT_TRIALS = 24;
const STATIC_MESSAGES = 30;
const STATIC_EVENTS = 60;
const ROWS = 100;
const SHOWN_ROWS = 12;
const KIND_TEXT: Readonly<Record<string, string>> = {
  message: 'messages',
  network: 'requests',
  file: 'files',
  command: 'commands',
  model: 'model calls',
  state: 'state',
  event: 'events',
  task: 'tasks',
  agent: 'agents started or ended',
  other: 'other calls',
};

export interface ActivitySection {
  readonly section: Section | null;
  readonly packs: readonly Pack[];
  /** Trials (viewId) that were recorded: true = what they did is in the page, false = it found no room. */
  readonly recorded: ReadonlyMap<string, boolean>;
}

/** Who did what when: one trial at a time, the one that went worst first. */
export function activitySection(results: RunResults): ActivitySection {
  const all = fleetsOf(results).filter(({ fleet }) => fleet.activity !== undefined);
  const bad = ({ trial }: FleetTrial) => (trial.status === 'passed' ? 1 : 0);
  const ordered = [...all].sort((a, b) => bad(a) - bad(b)).slice(0, TRIAL_LIMIT);
  const packs: Pack[] = [];
  const views: ActivityView[] = [];
  const shown: FleetTrial[] = [];
  let room = PACK_LIMIT_BYTES;
  for (const of of ordered) {
    const view = activityView(of);
    if (view === null) continue;
    const made = pack(
      `activity-${views.length}`,
      JSON.stringify({ html: fragment(of, view, { isDrawn: false, suffix: '' }).source, view }),
    );
    if (made.bytes.length > room) break;
    room -= made.bytes.length;
    packs.push(made);
    views.push(view);
    shown.push(of);
  }
  const recorded = new Map(all.map((of) => [viewId(of), false]));
  for (const { id } of views) recorded.set(id, true);
  const [first] = views;
  if (first === undefined) return { section: null, packs: [], recorded };
  const left = all.length - views.length;
  return {
    packs,
    recorded,
    section: {
      id: 'activity',
      title: 'What happened',
      short: 'What happened',
      body: html`<div class="tools" id="activity-choice" hidden><label>Trial <select id="activity-trial">${views.map(
        (view, index) => html`<option value="${index}" data-id="${view.id}">${optionText(view)}</option>`,
      )}</select></label></div>${left > 0 ? html`<p class="muted">${plural(left, 'more trial')} left out here to keep this file small; results.json has them.</p>` : null}
<div class="landing" data-activity id="activity=${first.id}"></div>
<div id="activity-part">${fragment(shown[0] as FleetTrial, first, { isDrawn: true, suffix: '' })}</div>${withoutScripts(shown, views)}`,
    },
  };
}

/** Where no script can draw the trials that are chosen, the others stand below the first, each behind its summary. */
function withoutScripts(shown: readonly FleetTrial[], views: readonly ActivityView[]): Html | null {
  if (views.length < 2) return null;
  const parts: Html[] = [];
  let room = NO_SCRIPT_LIMIT;
  for (let index = 1; index < Math.min(views.length, NO_SCRIPT_TRIALS + 1); index++) {
    const view = views[index] as ActivityView;
    const part = html`<details class="trial" id="activity=${view.id}"><summary>${optionText(view)}</summary><div class="inside">${fragment(
      shown[index] as FleetTrial,
      view,
      { isDrawn: true, suffix: `-${index}` },
    )}</div></details>
`;
    if (part.source.length > room) break;
    room -= part.source.length;
    parts.push(part);
  }
  const left = views.length - 1 - parts.length;
  return html`<noscript>${parts}${
    left > 0
      ? html`<p class="muted">Without scripts, read ${plural(left, 'more trial')} in results.json.</p>`
      : null
  }</noscript>`;
}

function optionText({ id, name }: ActivityView): string {
  return `${id.split('/')[0]}: ${name}`;
}

/** How a trial's part is written: with its drawings or for a script to draw, and what its ids end with. */
interface Form {
  readonly isDrawn: boolean;
  readonly suffix: string;
}

function fragment(of: FleetTrial, view: ActivityView, form: Form): Html {
  const { activity } = of.fleet;
  if (activity === undefined) return markup('');
  return html`${timeline(of, activity, view, form)}
${sequence(view, form)}
${network(activity)}
${files(activity)}
${decisions(activity)}`;
}

function timeline(
  of: FleetTrial,
  activity: FleetActivity,
  view: ActivityView,
  { isDrawn, suffix }: Form,
): Html {
  const { timelineSvg, COLOURS, eventText } = drawTools();
  const isWorld = view.worldStartMs !== null;
  const window = {
    low: 0,
    high: isWorld ? view.endWorldMs : view.endMs,
    isWorld,
    hiddenLanes: [],
    hiddenKinds: [],
    chosen: -1,
    width: STATIC_WIDTH + 200,
  };
  const count = (kind: string) => view.events.filter((event) => event.kind === kind).length;
  const sum = view.kinds.map((kind) => `${formatCount(count(kind))} ${KIND_TEXT[kind]}`).join(', ');
  const troubled = view.events.filter(({ trouble }) => trouble !== '').length;
  const hasRefused = view.events.some(({ trouble }) => trouble === 'refused');
  const hint = isWorld
    ? `World time: the trial took ${formatDuration(view.endMs)} for ${formatDuration(view.endWorldMs)} in its world.`
    : 'Real time: no agent was in a world.';
  return html`<figure class="chart" id="activity-timeline${suffix}" aria-labelledby="activity-timeline-title${suffix}">
<figcaption id="activity-timeline-title${suffix}">Who did what when: ${fleetName(of)}</figcaption>
<p class="muted">${hint} <a href="#trial=${identifier(of.trial.id)}">Attempts, figures and logs</a></p>
<p class="sr" id="activity-timeline-text${suffix}">${plural(view.lanes.length, 'lane')}: ${view.lanes.join(', ')}. ${sum}; ${formatCount(troubled)} refused or failed. The table below says the same.</p>
<ul class="legend">${view.kinds.map(
    (kind) =>
      html`<li><svg aria-hidden="true" width="10" height="14" viewBox="0 0 10 14"><path d="M5 1v12" fill="none" stroke="var(${COLOURS[kind] ?? '--ink'})" stroke-width="3"/></svg>${formatCount(count(kind))} ${KIND_TEXT[kind]}</li>`,
  )}${
    troubled === 0
      ? null
      : html`<li><svg aria-hidden="true" width="14" height="14" viewBox="0 0 14 14"><path d="M3 3l8 8m0 -8l-8 8" fill="none" stroke="var(--failed)" stroke-width="2"/></svg>failed</li>${hasRefused ? html`<li><svg aria-hidden="true" width="14" height="14" viewBox="0 0 14 14"><path d="M2 12h10l-5 -10z" fill="none" stroke="var(--failed)" stroke-width="2"/></svg>refused</li>` : null}`
  }${
    view.marks.length === 0
      ? null
      : html`<li><svg aria-hidden="true" width="14" height="14" viewBox="0 0 14 14"><path d="M7 1v12" fill="none" stroke="var(--ink-2)" stroke-dasharray="3 2" stroke-width="1.5"/></svg>${plural(view.marks.length, 'mark')}</li>`
  }</ul>
<div class="tools" hidden></div>
<div class="plot scroll" role="img" tabindex="0" aria-label="Who did what when" aria-describedby="activity-timeline-text${suffix}">${
    isDrawn ? markup(timelineSvg(view, window)) : null
  }</div>
<p class="chosen muted" aria-live="polite"></p>
${activity.losses.map(
  ({ kind, seen, kept, fromMs, toMs }) =>
    html`<p class="muted">Of ${formatCount(seen)} ${KIND_TEXT[kind]} the first and the last ${formatCount(Math.floor(kept / 2))} are kept; between ${formatDuration(fromMs)} and ${formatDuration(toMs)} of the trial ${formatCount(seen - kept)} are missing. The tables count all of them.</p>`,
)}
<details class="alternative" id="activity-table${suffix}"><summary>Every event as a table (${formatCount(view.events.length)})</summary><div class="tools" hidden></div>${dataTable(
    view.events.length > STATIC_EVENTS ? `The first ${STATIC_EVENTS}` : 'In their order',
    [{ title: 'What happened' }],
    view.events.slice(0, STATIC_EVENTS).map((event) => [eventText(view, event, isWorld)]),
    'Every event',
    'dense loose',
  )}</details>
</figure>`;
}

function sequence(view: ActivityView, { isDrawn, suffix }: Form): Html | null {
  const { sequenceSvg, messagesIn } = drawTools();
  const isWorld = view.worldStartMs !== null;
  const window = {
    low: 0,
    high: Number.POSITIVE_INFINITY,
    isWorld,
    hiddenLanes: [],
    hiddenKinds: [],
    chosen: -1,
    width: STATIC_WIDTH + 200,
  };
  const messages = messagesIn(view, window, '');
  if (messages.length === 0) return null;
  return html`<figure class="chart" id="activity-messages${suffix}" aria-labelledby="activity-messages-title${suffix}">
<figcaption id="activity-messages-title${suffix}">Messages between agents</figcaption>
<p class="sr" id="activity-messages-text${suffix}">${plural(messages.length, 'message')} as arrows from sender to receiver, in their order. The table of messages below counts them.</p>
<div class="tools" hidden></div>
<p class="muted" id="activity-messages-count${suffix}" aria-live="polite">${
    messages.length > STATIC_MESSAGES
      ? `The first ${STATIC_MESSAGES} of ${formatCount(messages.length)} messages`
      : plural(messages.length, 'message')
  }</p>
<div class="plot scroll" role="img" tabindex="0" aria-label="Messages between agents" aria-describedby="activity-messages-text${suffix}">${
    isDrawn ? markup(sequenceSvg(view, messages.slice(0, STATIC_MESSAGES), window)) : null
  }</div>
</figure>`;
}

/** The first rows; all of them behind a summary. */
function longTable(
  caption: string,
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  name: string,
  style: 'dense' | 'dense loose',
): Html {
  const first = dataTable(
    rows.length > SHOWN_ROWS ? `${caption}; the first ${SHOWN_ROWS}` : caption,
    columns,
    rows.slice(0, SHOWN_ROWS),
    name,
    style,
  );
  if (rows.length <= SHOWN_ROWS) return first;
  const rest = dataTable(
    `${caption}, continued`,
    columns,
    rows.slice(SHOWN_ROWS),
    `${name}, continued`,
    style,
  );
  return html`${first}<details class="alternative"><summary>${formatCount(rows.length - SHOWN_ROWS)} more</summary>${rest}</details>`;
}

function lost(count: number, what: string): Html | null {
  return count === 0
    ? null
    : html`<p class="muted">${plural(count, 'more row')} of ${what} found no room.</p>`;
}

function outcomeText(outcome: string, status: number | null): string {
  if (outcome === 'FORBIDDEN') return 'refused by its permissions';
  return outcome === 'OK' ? String(status ?? 'OK') : outcome;
}

function network({ requests, messages, rowsLost }: FleetActivity): Html | null {
  const sorted = [...requests].sort((a, b) => b.count - a.count).slice(0, ROWS);
  return html`<div class="beside">${
    sorted.length === 0
      ? null
      : html`<div><h3>Requests</h3>${longTable(
          `${plural(
            requests.reduce((sum, { count }) => sum + count, 0),
            'request',
          )} by host, agent and answer`,
          [
            { title: 'Host' },
            { title: 'Agent' },
            { title: 'Method' },
            { title: 'Answer' },
            { title: 'Count', numeric: true },
            { title: 'Received', numeric: true },
          ],
          sorted.map(({ host, agent, method, outcome, status, count, bytes }) => [
            host,
            agent,
            method,
            outcomeText(outcome, status),
            formatCount(count),
            formatBytes(bytes),
          ]),
          'Requests',
          'dense',
        )}${lost(rowsLost.requests + Math.max(0, requests.length - ROWS), 'requests')}</div>`
  }${
    messages.length === 0
      ? null
      : html`<div><h3>Messages</h3>${longTable(
          `${plural(
            messages.reduce((sum, { count }) => sum + count, 0),
            'message',
          )} by sender, receiver and type`,
          [
            { title: 'From' },
            { title: 'To' },
            { title: 'Type' },
            { title: 'Count', numeric: true },
            { title: 'Failed', numeric: true },
            { title: 'Size', numeric: true },
          ],
          messages
            .toSorted((a, b) => b.count - a.count)
            .slice(0, ROWS)
            .map(({ from, to, what, count, failed, bytes }) => [
              from,
              to,
              what,
              formatCount(count),
              formatCount(failed),
              formatBytes(bytes),
            ]),
          'Messages',
          'dense',
        )}${lost(rowsLost.messages + Math.max(0, messages.length - ROWS), 'messages')}</div>`
  }</div>`;
}

function files({ files: all, changed, rowsLost }: FleetActivity): Html | null {
  if (all.length === 0 && changed.length === 0) return null;
  return html`<div class="beside">${
    all.length === 0
      ? null
      : html`<div><h3>Files read and written</h3>${longTable(
          'Calls on files, by path and agent',
          [
            { title: 'Path' },
            { title: 'Agent' },
            { title: 'Reads', numeric: true },
            { title: 'Writes', numeric: true },
            { title: 'Failed', numeric: true },
            { title: 'Read', numeric: true },
            { title: 'Written', numeric: true },
          ],
          all
            .slice(0, ROWS)
            .map(({ path, agent, reads, writes, failed, bytesRead, bytesWritten }) => [
              path,
              agent,
              formatCount(reads),
              formatCount(writes),
              formatCount(failed),
              formatBytes(bytesRead),
              formatBytes(bytesWritten),
            ]),
          'Files',
          'dense',
        )}${lost(rowsLost.files + Math.max(0, all.length - ROWS), 'files')}</div>`
  }${
    changed.length === 0
      ? null
      : html`<div><h3>Files in the end</h3>${longTable(
          'What had become of the files of the world',
          [{ title: 'Path' }, { title: 'Change' }, { title: 'Size', numeric: true }],
          changed.slice(0, ROWS).map(({ path, change, bytes }) => [path, change, formatBytes(bytes)]),
          'Files in the end',
          'dense',
        )}${lost(rowsLost.changed + Math.max(0, changed.length - ROWS), 'changes')}</div>`
  }</div>`;
}

/** Allowed and denied, by agent; the rule of every refusal. */
function decisions({ calls, refusals, rowsLost }: FleetActivity): Html {
  const agents = [...new Set(calls.map(({ agent }) => agent))];
  const rows = agents.map((agent) => {
    const own = calls.filter((call) => call.agent === agent);
    const sum = (of: 'count' | 'refused' | 'failed') => own.reduce((total, call) => total + call[of], 0);
    const most = own
      .toSorted((a, b) => b.count - a.count)
      .slice(0, 4)
      .map(({ call, count }) => `${call} ${formatCount(count)}`);
    return [
      agent,
      formatCount(sum('count')),
      formatCount(sum('count') - sum('refused')),
      formatCount(sum('refused')),
      formatCount(sum('failed')),
      most.join(', '),
    ];
  });
  return html`<h3>Decisions</h3>${longTable(
    'Calls to the kernel: allowed or refused by permissions, and those that failed',
    [
      { title: 'Agent' },
      { title: 'Calls', numeric: true },
      { title: 'Allowed', numeric: true },
      { title: 'Refused', numeric: true },
      { title: 'Failed', numeric: true },
      { title: 'Most of them' },
    ],
    rows.slice(0, ROWS),
    'Decisions',
    'dense loose',
  )}${
    refusals.length === 0
      ? null
      : html`${longTable(
          'Refusals, by the rule that made them',
          [
            { title: 'Agent' },
            { title: 'Call' },
            { title: 'About' },
            { title: 'Rule' },
            { title: 'Count', numeric: true },
          ],
          refusals
            .slice(0, ROWS)
            .map(({ agent, call, object, rule, count }) => [agent, call, object, rule, formatCount(count)]),
          'Refusals',
          'dense loose',
        )}${lost(rowsLost.refusals + Math.max(0, refusals.length - ROWS), 'refusals')}`
  }`;
}
