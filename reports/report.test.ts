import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import type { RunResults } from '../bench/types.ts';
import { makeResults } from './fixture.ts';
import { renderHtml, renderMarkdown, writeReports } from './index.ts';
import { asClassicScript } from './page/library.ts';

const HOSTILE = [
  '<script>window.__xss=1</script>',
  '"><img src=x onerror=window.__xss=1>',
  '</script><svg/onload=window.__xss=1>',
  '[x](javascript:window.__xss=1)',
  '| a | b |',
  '```\n# heading',
  '\u202egnp.exe\u001b]0;owned\u0007\u2028\u0000',
].join(' ');

const small = (change: Partial<RunResults> = {}): RunResults => ({
  ...makeResults({ trials: 8 }),
  ...change,
});

/** Markup without scripts and packed blocks: what a reader without scripts gets. */
function visible(source: string): string {
  return source.replace(/<script[\s\S]*?<\/script>/g, '');
}

function packed(source: string, id: string): string {
  const block = new RegExp(`id="pack-${id}">([^<]*)<`).exec(source);
  if (block === null) throw new Error(`no block ${id}`);
  return gunzipSync(Buffer.from(block[1] as string, 'base64')).toString();
}

describe('renderHtml', () => {
  it('gives the same bytes every time', async () => {
    expect(await renderHtml(makeResults())).toBe(await renderHtml(makeResults()));
  });

  it('shows verdict, figures and every table without scripts', async () => {
    const page = visible(await renderHtml(makeResults()));
    expect(page).toMatch(/<strong>Pass<\/strong>/);
    for (const id of [
      'runtimes',
      'heatmap',
      'leaderboard',
      'timeline',
      'load',
      'durations',
      'failures',
      'trials',
      'notices',
      'isolation',
      'preparations',
      'environment',
      'reproduce',
      'method',
    ]) {
      expect(page).toContain(`<section id="${id}"`);
      expect(page).toContain(`href="#${id}"`);
    }
    expect(page.match(/<details class="trial"/g)).toHaveLength(48);
    expect(page).toContain('id="trial=exp_014"');
    expect(page.match(/<figure /g)).toHaveLength(7);
    expect(page).toContain('48 / 48');
  });

  it('names numbers among parameters, and facts in words, without those that say nothing', async () => {
    const results = small();
    const [preparation] = results.preparations;
    const [trial] = results.trials;
    if (preparation === undefined || trial === undefined) throw new Error('the fixture is empty');
    const facts = { rows: 655, droppedWhy: 'salts', computed: 'morgan,maccs', repaired: '', left: null };
    const page = visible(
      await renderHtml({
        ...results,
        preparations: [{ ...preparation, facts }],
        trials: [{ ...trial, params: { model: 'svm', seed: 42 } }],
      }),
    );
    expect(page).toContain('>rows 655 · dropped why salts · computed morgan, maccs</td>');
    expect(page).toMatch(/<strong>exp_001<\/strong> (?:– · )*svm(?: · –)* · seed 42 /);
  });

  it('writes the values of options as they were given, commas and all', async () => {
    const page = visible(await renderHtml(small({ options: { file: '/data/a,b.csv' } })));
    expect(page).toContain('<th scope="row">Option file</th><td>/data/a,b.csv</td>');
  });

  it('shouts when data are synthetic, and does not when they are not', async () => {
    expect(visible(await renderHtml(small()))).toContain('Rule-labelled, synthetic data');
    const measured = small({
      provenance: makeResults().provenance.map((source) => ({ ...source, name: 'TDC', kind: 'measured' })),
    });
    expect(visible(await renderHtml(measured))).not.toMatch(/synthetic data/i);
  });

  it('says plainly when a run was interrupted, failed, or measured too little', async () => {
    const page = visible(
      await renderHtml(
        small({
          status: 'interrupted',
          verdict: { kind: 'no_verdict', reason: 'too little', coverage: 0.5, coverageFloor: 0.95 },
        }),
      ),
    );
    expect(page).toContain('<strong>No verdict</strong>');
    expect(page).toContain('Only 50 % was measured');
    expect(page).toContain('<strong>interrupted</strong>');
  });

  it('says so when clove was the slower one', async () => {
    const results = makeResults({ trials: 8, runtimes: ['clove', 'sequential'] });
    const [clove, sequential] = results.runtimes as [
      RunResults['runtimes'][number],
      RunResults['runtimes'][number],
    ];
    const slower = {
      ...results,
      runtimes: [
        { ...clove, wallMs: 4000 },
        { ...sequential, wallMs: 2000 },
      ],
    };
    const page = visible(await renderHtml(slower));
    expect(page).toContain('<dt>Slower than sequential</dt><dd class="value">2×</dd>');
    expect(page).toContain('needed 50 % less time than clove');
  });

  it('draws an empty run and a run with one runtime', async () => {
    const empty = small({
      trials: [],
      runtimes: [],
      load: [],
      isolation: [],
      preparations: [],
      provenance: [],
    });
    expect(visible(await renderHtml(empty))).toContain('No experiment has a figure to rank.');
    const alone = makeResults({
      runtimes: ['sequential'],
      trials: 8,
      faults: { crash: 0, hang: 0, leak: 0 },
    });
    expect(visible(await renderHtml(alone))).toContain('Only one runtime took part');
  });

  it('keeps everything from the record inert', async () => {
    const page = await renderHtml(makeResults({ trials: 12, hostile: HOSTILE }));
    const shown = visible(page);
    expect(shown).not.toMatch(/<(?:img|iframe|object|embed|base)\b|<svg\/|<script/i);
    expect(shown).not.toMatch(/ on\w+="/);
    expect(shown).not.toMatch(/href="(?!#)/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: looking for them is the point
    expect(shown).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2028\u2029]/);
    expect(page.match(/<script\b/g)).toHaveLength(page.match(/<\/script>/g)?.length ?? -1);
  });

  it('carries the whole record for those who want to compute with it', async () => {
    const results = makeResults({ trials: 8, hostile: HOSTILE });
    expect(JSON.parse(packed(await renderHtml(results), 'results'))).toEqual(results);
  });

  it('packs large runs: every experiment can be looked up, and the file stays small', async () => {
    const results = makeResults({ trials: 2000 });
    const page = await renderHtml(results);
    expect(page.length).toBeLessThan(5_000_000);
    expect(visible(page).match(/<tr data-state/g)).toHaveLength(200);
    expect(packed(page, 'rows').match(/<tr data-state/g)).toHaveLength(2000);
    const index = JSON.parse(packed(page, 'index')) as Record<string, number>;
    expect(Object.keys(index)).toHaveLength(2000);
    for (const id of ['exp_0001', 'exp_1014', 'exp_2000']) {
      const details = JSON.parse(packed(page, `details-${index[id]}`)) as Record<string, string>;
      expect(details[id]).toContain(`id="trial=${id}"`);
    }
  });

  it('bounds logs and says where it left one out', async () => {
    const results = makeResults({ trials: 48 });
    const log = 'x'.repeat(8192);
    const noisy = {
      ...results,
      trials: results.trials.map((trial) => ({
        ...trial,
        attempts: trial.attempts.map((attempt) => ({ ...attempt, logTail: log })),
      })),
    };
    const page = await renderHtml(noisy);
    expect(page.length).toBeLessThan(1_500_000);
    expect(page).toContain('Log left out to keep this file small');
  });
});

describe('bounds', () => {
  it('a megabyte of text or a thousand figures from one experiment does not drown the reports', async () => {
    const results = small();
    const long = 'y'.repeat(1_000_000);
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`figure${index}`, index]));
    const flooded: RunResults = {
      ...results,
      notices: [long],
      trials: results.trials.map((trial) => ({
        ...trial,
        metrics: { ...trial.metrics, test: many },
        facts: many,
        attempts: trial.attempts.map((attempt) => ({
          ...attempt,
          end: 'error',
          error: { code: 'INTERNAL', message: long },
        })),
      })),
    };
    const page = visible(await renderHtml(flooded));
    expect(page.length).toBeLessThan(1_500_000);
    expect(page).toContain('… (996000 more characters)');
    expect(page).toMatch(/First 60 of 1,0\d\d figures/);
    expect(renderMarkdown(flooded).length).toBeLessThan(150_000);
  });
});

describe('renderMarkdown', () => {
  it('holds leaderboard, bests, averages, runtimes, failures, provenance and the command', () => {
    const text = renderMarkdown(makeResults());
    for (const heading of [
      '# Drug discovery',
      '## Execution by runtime',
      '## Leaderboard',
      '## Best by Data set',
      '## Average by Model',
      '## Average by Features',
      '## Failures',
      '## Isolation',
      '## Environment and data',
      '## Reproduce',
    ]) {
      expect(text).toContain(heading);
    }
    expect(text).toContain('**Pass**: 48 of 48');
    expect(text).toContain('RULE-LABELLED, SYNTHETIC DATA');
    expect(text).toMatch(/\| 20 \| exp_\d+ \|/);
    expect(text).not.toMatch(/\| 21 \| exp_\d+ \|/);
  });

  it('keeps everything from the record literal', () => {
    const text = renderMarkdown(makeResults({ trials: 12, hostile: HOSTILE }));
    const outside = text.replace(/^(`{3,})\w*\n[\s\S]*?\n\1$/gm, '');
    expect(outside).not.toMatch(/<(?:script|img|svg)/i);
    expect(outside).not.toMatch(/(?<!\\)\]\(/);
    expect(outside).not.toMatch(/^# heading/m);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: looking for them is the point
    expect(text).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2028\u2029]/);
    expect(outside.match(/^## Reproduce$/gm)).toHaveLength(1);
  });

  it('draws an empty run', () => {
    const empty = small({
      trials: [],
      runtimes: [],
      load: [],
      isolation: [],
      preparations: [],
      provenance: [],
    });
    expect(renderMarkdown(empty)).toContain('No experiment ran.');
  });
});

describe('asClassicScript', () => {
  it('refuses an interpreter it does not recognise instead of shipping a broken page', () => {
    expect(() => asClassicScript('export default 1;')).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
  });
});

describe('writeReports', () => {
  const folders: string[] = [];
  afterEach(async () => {
    for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
  });

  it('writes both files whole, replaces older ones and leaves nothing else', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'clove-reports-'));
    folders.push(folder);
    const results = small();
    await writeReports(folder, small({ runId: 'older' }));
    const written = await writeReports(folder, results);
    expect(await readFile(written.html, 'utf8')).toBe(await renderHtml(results));
    expect(await readFile(written.markdown, 'utf8')).toBe(renderMarkdown(results));
    expect((await readdir(folder)).sort()).toEqual(['report.html', 'report.md']);
  });

  it('fails with IO and the file name where it cannot write', async () => {
    await expect(writeReports('/proc/clove-no-such-folder', small())).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('report.md'),
    });
  });
});
