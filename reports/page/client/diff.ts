import type { CompareTools } from '../../activity/compare.ts';
import type { DrawTools } from '../../activity/draw.ts';
import type { ActivityView } from '../../activity/view.ts';
import type { ComparedTrial } from '../../sections/trial-diff.ts';
import type { PageElement } from '../dom.ts';
import type { BaseTools } from './base.ts';

/** Two trials side by side. */
export function diffTools(
  { choice, make, pageGlobals, unpack }: BaseTools,
  draw: DrawTools,
  compare: CompareTools,
) {
  const LISTED = 300;
  const CONTEXT = 3;

  function table(
    caption: string,
    heads: readonly string[],
    rows: readonly (readonly string[])[],
  ): PageElement {
    const box = make('table', '', { class: 'dense loose' });
    const head = make('thead');
    const line = make('tr');
    line.append(...heads.map((text) => make('th', text, { scope: 'col' })));
    head.append(line);
    const body = make('tbody');
    for (const row of rows) {
      const one = make('tr', '', row[1] === row[2] ? {} : { class: 'differs' });
      one.append(
        ...row.map((text, index) => (index === 0 ? make('th', text, { scope: 'row' }) : make('td', text))),
      );
      body.append(one);
    }
    box.append(make('caption', caption), head, body);
    const frame = make('div', '', { class: 'scroll', role: 'region', tabindex: '0', 'aria-label': caption });
    frame.append(box);
    return frame;
  }

  /** Rows of two records; those that differ first. */
  function rowsOf(
    a: Readonly<Record<string, string>>,
    b: Readonly<Record<string, string>>,
  ): [string, string, string][] {
    const rows = [...new Set([...Object.keys(a), ...Object.keys(b)])].map(
      (name): [string, string, string] => [name, a[name] ?? '–', b[name] ?? '–'],
    );
    return [...rows.filter(([, x, y]) => x !== y), ...rows.filter(([, x, y]) => x === y)];
  }

  function metricsTable(a: ComparedTrial, b: ComparedTrial): PageElement | null {
    const names = [...new Set([...Object.keys(a.metrics), ...Object.keys(b.metrics)])];
    if (names.length === 0) return null;
    const rows = names.map((name) => {
      const one = a.metrics[name];
      const other = b.metrics[name];
      const delta = one === undefined || other === undefined ? Number.NaN : other[0] - one[0];
      const change = Number.isNaN(delta)
        ? '–'
        : delta === 0
          ? '='
          : `${delta > 0 ? '+' : '−'}${Number(Math.abs(delta).toPrecision(4))}`;
      return [name, one?.[1] ?? '–', other?.[1] ?? '–', change];
    });
    return table(
      'Figures',
      ['Figure', 'A', 'B', 'B − A'],
      [...rows.filter((row) => row[3] !== '='), ...rows.filter((row) => row[3] === '=')],
    );
  }

  function listOf(view: ActivityView, indices: readonly number[], from: number, same: number): string[] {
    return indices.slice(Math.max(0, from), same + CONTEXT + 1).map((index, place) => {
      const event = view.events[index];
      const mark = Math.max(0, from) + place === same ? '▶ ' : '';
      return event === undefined ? '' : `${mark}${draw.eventText(view, event, view.worldStartMs !== null)}`;
    });
  }

  function eventsPart(a: ActivityView, b: ActivityView): PageElement[] {
    const found = compare.divergences(a, b);
    const first = found.find(({ atMs }) => atMs !== null);
    const rows = found.map(({ agent, same, a: ofA, b: ofB, atMs }) => [
      agent,
      `${ofA.length} events`,
      `${ofB.length} events`,
      atMs === null ? 'all the same' : `the first ${same} are the same`,
    ]);
    const sum = table('What each agent did, in its own order', ['Agent', 'A', 'B', 'Compared'], rows);
    if (first === undefined)
      return [
        make(
          'p',
          `Of what is kept of both, every agent did the same, in the same order.${a.hasLosses || b.hasLosses ? ' Not everything is kept: there may be a divergence among the rest.' : ' There is no divergence.'}`,
        ),
        sum,
      ];
    const from = first.same - CONTEXT;
    const one = listOf(a, first.a, from, first.same);
    const other = listOf(b, first.b, from, first.same);
    const lines = Array.from({ length: Math.max(one.length, other.length) }, (_, index) => [
      String(Math.max(0, from) + index + 1),
      one[index] ?? '(nothing more)',
      other[index] ?? '(nothing more)',
    ]);
    return [
      make(
        'p',
        `First divergence: ${first.agent}, after ${first.same} events that are the same.${a.hasLosses || b.hasLosses ? ' Not everything is kept: the first one may be earlier.' : ''}`,
        {
          class: 'first-divergence',
        },
      ),
      table(`Around the first divergence: ${first.agent}`, ['Event', 'A', 'B'], lines),
      sum,
    ];
  }

  /** Lines that differ with a few around them; what is the same in between is counted. */
  function logsPart(a: ComparedTrial, b: ComparedTrial): PageElement[] {
    if (a.log === null || b.log === null) {
      const missing = a.log === null ? a.id : b.id;
      return [make('p', `The log of ${missing} found no room in this file; results.json has it.`)];
    }
    if (a.log.length === 0 && b.log.length === 0) return [];
    const aligned = compare.alignLines(a.log, b.log);
    if (aligned.every(([one, other]) => one === other))
      return [make('p', `The logs are the same (lines kept: ${aligned.length}).`)];
    const isNear = (index: number): boolean =>
      aligned.slice(Math.max(0, index - CONTEXT), index + CONTEXT + 1).some(([one, other]) => one !== other);
    const rows: string[][] = [];
    let same = 0;
    const closeGap = (): void => {
      if (same > 0) rows.push(['…', `${same} the same`, `${same} the same`]);
      same = 0;
    };
    aligned.forEach(([one, other], index) => {
      if (!isNear(index)) {
        same += 1;
        return;
      }
      closeGap();
      rows.push([String(index + 1), one ?? '(no such line)', other ?? '(no such line)']);
    });
    closeGap();
    return [table('Last lines of the logs', ['Line', 'A', 'B'], rows)];
  }

  /** Why nothing is said of what agents did, where something could be. */
  function missingEvents(a: ComparedTrial, b: ComparedTrial): PageElement[] {
    const left = [a, b].filter(({ activity }) => activity === 'left out').map(({ id }) => id);
    const none = [a, b].filter(({ activity }) => activity === 'none').map(({ id }) => id);
    if (none.length === 2) return [];
    const why =
      left.length > 0
        ? `what happened in ${left.join(' and ')} found no room in this file; results.json has it`
        : `of ${none.join(' and ')} it was not recorded`;
    return [make('p', `What each agent did is not compared: ${why}.`, { class: 'not-compared' })];
  }

  async function startDiff(): Promise<void> {
    const page = pageGlobals();
    const part = page.document.getElementById('compare-part');
    const tools = page.document.getElementById('compare-tools');
    if (part === null || tools === null) return;
    const { size, ids } = JSON.parse(await unpack('compare-index')) as { size: number; ids: string[] };
    const chosen: [string, string] = [ids[0] ?? '', ids[1] ?? ''];
    const trialOf = async (id: string): Promise<ComparedTrial | undefined> => {
      const place = ids.indexOf(id);
      if (place < 0) return undefined;
      const chunk = JSON.parse(await unpack(`compare-${Math.floor(place / size)}`)) as ComparedTrial[];
      return chunk[place % size];
    };
    const viewOf = async (id: string): Promise<ActivityView | null> => {
      const options = page.document.querySelectorAll('#activity-trial option');
      const option = [...options].find((each) => each.dataset.id === id);
      if (option === undefined) return null;
      return (JSON.parse(await unpack(`activity-${option.value}`)) as { view: ActivityView }).view;
    };
    const show = async (): Promise<void> => {
      const [a, b] = await Promise.all(chosen.map(trialOf));
      if (a === undefined || b === undefined) {
        const missing = chosen.find((id) => !ids.includes(id));
        part.replaceChildren(make('p', `There is no trial ${missing} here.`));
        return;
      }
      const views = await Promise.all(chosen.map(viewOf));
      const parts: PageElement[] = [];
      parts.push(table('Parameters', ['Parameter', 'A', 'B'], rowsOf(a.params, b.params)));
      parts.push(table('How it went', ['Result', 'A', 'B'], rowsOf(a.result, b.result)));
      const metrics = metricsTable(a, b);
      if (metrics !== null) parts.push(metrics);
      const checks = rowsOf(a.checks, b.checks);
      if (checks.length > 0) parts.push(table('Checks', ['Asserted', 'A', 'B'], checks));
      const facts = rowsOf(a.facts, b.facts);
      if (facts.length > 0) parts.push(table('Facts', ['Fact', 'A', 'B'], facts));
      parts.push(...logsPart(a, b));
      const [one, other] = views;
      parts.unshift(...(one && other ? eventsPart(one, other) : missingEvents(a, b)));
      part.replaceChildren(...parts);
    };
    const chooser = (name: string, place: 0 | 1): PageElement => {
      const take = (value: string): void => {
        chosen[place] = value.trim();
        void show();
      };
      if (ids.length <= LISTED) {
        const label = choice(
          name,
          ids.map((id) => [id, id] as const),
          take,
        );
        const select = label.querySelector('select');
        if (select !== null) select.value = chosen[place];
        return label;
      }
      const label = make('label', `${name} `);
      const input = make('input', '', { type: 'text', size: '24' });
      input.value = chosen[place];
      input.addEventListener('change', () => take(input.value));
      label.append(input);
      return label;
    };
    tools.replaceChildren(chooser('A', 0), chooser('B', 1));
    tools.hidden = false;
    await show();
  }

  return { startDiff };
}

export type DiffTools = ReturnType<typeof diffTools>;
