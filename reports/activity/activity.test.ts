import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RunResults } from '../../bench/types.ts';
import { fleetsOf } from '../fleets.ts';
import { renderHtml } from '../render-html.ts';
import { parseResults } from '../schema.ts';
import { activitySection } from '../sections/activity.ts';
import { type ComparedTrial, trialDiffSection } from '../sections/trial-diff.ts';
import { trialsSection } from '../sections/trials.ts';
import { summarise } from '../summary.ts';
import { compareTools } from './compare.ts';
import { type ActivityWindow, drawTools } from './draw.ts';
import { makeFleetResults } from './fixture.ts';
import { activityView, worldClock } from './view.ts';

const HOSTILE = `</script><img src=x onerror=window.__xss=1>"'\u202e\u001b[2J`;

function viewsOf(options: Parameters<typeof makeFleetResults>[0] = {}) {
  return fleetsOf(makeFleetResults(options)).map((of) => {
    const view = activityView(of);
    if (view === null) throw new Error('no activity');
    return view;
  });
}

const whole: ActivityWindow = {
  low: 0,
  high: 1e9,
  isWorld: true,
  hiddenLanes: [],
  hiddenKinds: [],
  chosen: -1,
  width: 1000,
};

describe('the activity of a trial', () => {
  it('is a valid record, and stays text whatever its agents called themselves', async () => {
    const results = makeFleetResults({ hostile: HOSTILE });
    expect(parseResults(JSON.parse(JSON.stringify(results)))).toEqual(results);
    const page = await renderHtml(results);
    expect(page).not.toContain('<img');
    expect(page).not.toContain('\u001b');
    const [view] = viewsOf({ hostile: HOSTILE });
    if (view === undefined) throw new Error('no view');
    const { timelineSvg, sequenceSvg, messagesIn } = drawTools();
    const messages = messagesIn(view, whole, '');
    for (const svg of [timelineSvg(view, { ...whole, high: 120_000 }), sequenceSvg(view, messages, whole)]) {
      expect(svg).not.toContain('<img');
      // What agents wrote is text between tags, and every tag is one of ours.
      expect(new Set(svg.match(/<\/?\w+/g))).toEqual(
        new Set(svg.match(/<\/?(?:svg|path|text|rect|circle)/g)),
      );
    }
  });

  it('stands in the page without scripts: drawings, requests, files, refusals, what is missing', async () => {
    const page = await renderHtml(makeFleetResults());
    for (const text of [
      'Who did what when',
      'Messages between agents',
      'firewall.lab',
      '/var/log/lab.log',
      'syscall.not-granted:KILL',
      '834 are missing',
      '2 more rows of refusals found no room',
      'Attempts, figures and logs',
    ])
      expect(page).toContain(text);
  });

  it('puts the trial that went worst first', () => {
    expect(viewsOf().map(({ id }) => id)).toEqual(['exp_001/clove', 'exp_002/clove', 'exp_003/clove']);
  });

  it('draws only what the window and the filters let through', () => {
    const [view] = viewsOf();
    if (view === undefined) throw new Error('no view');
    const { messagesIn, passes, timelineSvg, eventAt } = drawTools();
    const all = messagesIn(view, whole, '');
    expect(all.length).toBe(67);
    expect(messagesIn(view, { ...whole, low: 0, high: 60_000 }, '').length).toBeLessThan(all.length);
    expect(messagesIn(view, { ...whole, hiddenLanes: [view.lanes.indexOf('responder')] }, '')).toEqual([]);
    expect(messagesIn(view, whole, 'nothing')).toEqual([]);
    const [event] = view.events;
    expect(event && passes(event, { ...whole, hiddenKinds: ['file'] })).toBe(false);
    expect(timelineSvg(view, { ...whole, low: 0, high: 120_000 })).toContain('08:01:00');
    expect(timelineSvg(view, { ...whole, isWorld: false, low: 0, high: 2000 })).toContain('1.0 s');
    // The first event stands where the labels of the lanes end.
    expect(eventAt(view, { ...whole, low: 0, high: 120_000 }, 169, 20)).toBe(0);
    expect(eventAt(view, { ...whole, low: 0, high: 120_000 }, 20, 20)).toBe(-1);
  });

  it('tells the time in the world of what only the trial has a time of', () => {
    const toWorld = worldClock([
      { atMs: 100, worldMs: 1000 },
      { atMs: 200, worldMs: null },
      { atMs: 300, worldMs: 9000 },
    ]);
    expect([50, 100, 200, 300, 350].map(toWorld)).toEqual([950, 1000, 5000, 9000, 9050]);
    expect(worldClock([])(70)).toBe(70);
  });
});

describe('two trials', () => {
  it('part ways where an agent does something else, in its own order', () => {
    const [a, b, c] = viewsOf();
    if (a === undefined || b === undefined || c === undefined) throw new Error('no views');
    const { divergences } = compareTools();
    const found = divergences(a, b);
    expect(found.map(({ agent, same, atMs }) => [agent, same, atMs])).toEqual([
      ['analyst', 3, 6000],
      ['collector', 67, null],
      ['responder', 66, null],
    ]);
    expect(divergences(a, c).every(({ atMs }) => atMs === null)).toBe(true);
  });

  it('part ways where one of them has nothing more to show', () => {
    const [long] = viewsOf({ entries: 30 });
    const [short] = viewsOf({ entries: 20 });
    if (long === undefined || short === undefined) throw new Error('no views');
    const [first] = compareTools().divergences(long, short);
    expect(first).toMatchObject({ agent: 'responder', same: 6, atMs: 20 * 600 });
  });
});

describe('two logs side by side', () => {
  const { alignLines } = compareTools();

  it('stand line by line, each with what only it has', () => {
    expect(alignLines(['a', 'b', 'c', 'd'], ['a', 'x', 'c', 'd', 'e'])).toEqual([
      ['a', 'a'],
      ['b', null],
      [null, 'x'],
      ['c', 'c'],
      ['d', 'd'],
      [null, 'e'],
    ]);
    expect(alignLines([], [])).toEqual([]);
  });

  it('lose no line and add none, whatever they are', () => {
    const text = fc.array(fc.constantFrom('', 'a', 'b', 'c'), { maxLength: 30 });
    fc.assert(
      fc.property(text, text, (a, b) => {
        const rows = alignLines(a, b);
        expect(rows.flatMap(([line]) => (line === null ? [] : [line]))).toEqual(a);
        expect(rows.flatMap(([, line]) => (line === null ? [] : [line]))).toEqual(b);
        expect(rows.every(([one, other]) => one === null || other === null || one === other)).toBe(true);
      }),
    );
  });
});

describe('what of fleets is in the page', () => {
  const first = (results: RunResults) => results.trials[0] as RunResults['trials'][number];

  it('is linked from the drill-down of each trial, and said to be left out where it is', () => {
    const results = makeFleetResults({ entries: 30 });
    const of = (isHere: boolean) =>
      trialsSection(results, summarise(results), new Map([[`${first(results).id}/clove`, isHere]])).section
        .body.source;
    expect(of(true)).toContain(`<a href="#activity=${first(results).id}/clove">`);
    expect(of(false)).toContain('under clove it found no room in this file');
    expect(of(false)).not.toContain('href="#activity=');
  });

  it('is said to be missing where two trials are compared without it', () => {
    const results = makeFleetResults({ entries: 30 });
    const { packs } = trialDiffSection(results, new Map([[`${first(results).id}/clove`, false]]));
    const [one, other] = JSON.parse(
      gunzipSync(packs.find(({ id }) => id === 'compare-0')?.bytes as Uint8Array).toString(),
    ) as ComparedTrial[];
    expect(one).toMatchObject({ activity: 'left out', log: expect.any(Array) });
    expect(other).toMatchObject({ activity: 'none' });
  });

  it('stands in the page for readers without scripts, every trial of it, with ids of its own', () => {
    const { section, recorded } = activitySection(makeFleetResults({ entries: 30 }));
    const source = section?.body.source ?? '';
    expect([...recorded.values()]).toEqual([true, true, true]);
    const ids = [...source.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
    expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
    for (const id of recorded.keys()) expect(ids).toContain(`activity=${id}`);
  });
});
