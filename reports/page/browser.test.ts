import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { makeResults } from '../fixture.ts';
import { renderHtml } from '../render-html.ts';
import { CHROMIUM, CHROMIUM_ARGUMENTS } from './testing.ts';

const HOSTILE = `<script>window.__xss=1</script>"><img src=x onerror=window.__xss=2></script><svg/onload=window.__xss=3>\u202e\u001b[2J`;

type Name = 'usual' | 'large' | 'hostile';

interface Opened {
  readonly page: Page;
  /** Console messages, page errors and policy violations. */
  readonly complaints: string[];
  readonly requests: string[];
}

let browser: Browser;
let folder: string;
const closing: (() => Promise<void>)[] = [];

beforeAll(async () => {
  if (!existsSync(CHROMIUM)) return;
  folder = await mkdtemp(path.join(tmpdir(), 'clove-page-'));
  const write = async (name: Name, overrides: Parameters<typeof makeResults>[0]): Promise<void> =>
    writeFile(path.join(folder, `${name}.html`), await renderHtml(makeResults(overrides)));
  await write('usual', {});
  await write('large', { trials: 2000 });
  await write('hostile', { trials: 12, hostile: HOSTILE });
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: CHROMIUM_ARGUMENTS,
  });
});

afterAll(async () => {
  if (folder === undefined) return;
  for (const close of closing.splice(0)) await close();
  await browser.close();
  await rm(folder, { recursive: true });
});

function needChromium(context: TestContext): void {
  if (!existsSync(CHROMIUM)) context.skip(`no browser at ${CHROMIUM} (set CLOVE_CHROMIUM)`);
}

async function openPage(
  name: Name,
  options: BrowserContextOptions = {},
  hash = '',
  script = '',
): Promise<Opened> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    // Smooth scrolling would still move the page while a test looks at it.
    reducedMotion: 'reduce',
    ...options,
  });
  closing.push(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  const requests: string[] = [];
  page.on('console', (message) => complaints.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => requests.push(request.url()));
  if (options.javaScriptEnabled !== false) {
    await page.addInitScript(
      "document.addEventListener('securitypolicyviolation', (e) => console.error('policy ' + e.violatedDirective))",
    );
  }
  if (script !== '') await page.addInitScript(script);
  await page.goto(`${pathToFileURL(path.join(folder, `${name}.html`))}${hash}`);
  return { page, complaints, requests };
}

/** Scrolls every chart into view, so that all of them come alive. */
async function enliven(page: Page): Promise<void> {
  for (const figure of await page.locator('figure[data-chart]').all()) {
    await figure.scrollIntoViewIfNeeded();
    await figure.and(page.locator('[data-live]')).waitFor();
  }
}

function overflow(page: Page): Promise<number> {
  return page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
}

describe('report.html in a browser', () => {
  it.for(['usual', 'large', 'hostile'] as const)(
    'brings the %s run to life without a complaint, a policy violation or a request',
    async (name, context) => {
      needChromium(context);
      const { page, complaints, requests } = await openPage(name);
      await enliven(page);
      const states = await page
        .locator('figure[data-chart]')
        .evaluateAll((figures) => figures.map((figure) => figure.getAttribute('data-live')));
      expect(states).toEqual(Array(7).fill('true'));
      expect(complaints).toEqual([]);
      expect(requests).toHaveLength(1);
      expect(await page.evaluate('window.__xss')).toBeUndefined();
    },
  );

  it('brings charts to life together that come into view together, each cut by paths of its own', async (context) => {
    needChromium(context);
    const { page } = await openPage('usual', { viewport: { width: 1280, height: 12_000 } });
    for (const figure of await page.locator('figure[data-chart]').all())
      await figure.and(page.locator('[data-live]')).waitFor();
    const ids = await page
      .locator('figure[data-live] clipPath')
      .evaluateAll((paths) => paths.map((path) => path.id));
    expect(ids.length).toBeGreaterThan(2);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it.for([
    ['the blocks cannot be unpacked', 'DecompressionStream'],
    ['the library does not start', 'vega'],
  ] as const)('tries again for the next chart when %s for one', async ([, name], context) => {
    needChromium(context);
    const hidden = `let hidden = true, value = window.${name}; window.__mend = () => { hidden = false; };
      Object.defineProperty(window, '${name}', { get: () => (hidden ? undefined : value), set: (given) => { value = given; } });`;
    const { page } = await openPage('usual', {}, '', hidden);
    const figures = page.locator('figure[data-chart]');
    await figures.first().scrollIntoViewIfNeeded();
    await figures.and(page.locator('[data-live^="failed"]')).first().waitFor();
    await page.evaluate('window.__mend()');
    await figures.last().scrollIntoViewIfNeeded();
    await figures.last().and(page.locator('[data-live="true"]')).waitFor();
  });

  it('really has the policy it states: a script of another origin or text does not run', async (context) => {
    needChromium(context);
    const { page, complaints } = await openPage('usual');
    await page.evaluate(
      "(() => { const s = document.createElement('script'); s.textContent = 'window.__xss = 4'; document.body.append(s); const p = document.createElement('p'); p.innerHTML = '<img src=x onerror=\"window.__xss = 5\">'; document.body.append(p); })()",
    );
    await page.waitForTimeout(50);
    expect(await page.evaluate('window.__xss')).toBeUndefined();
    expect(complaints.filter((text) => text.includes('policy script-src')).length).toBeGreaterThan(0);
  });

  it('shows verdict, tables and drawings without scripts, at any width', async (context) => {
    needChromium(context);
    for (const width of [360, 1280]) {
      const { page, complaints } = await openPage('usual', {
        javaScriptEnabled: false,
        viewport: { width, height: 900 },
      });
      expect(await page.locator('#verdict').textContent()).toMatch(/^Pass/);
      expect(await page.locator('#provenance').isVisible()).toBe(true);
      expect(await page.locator('#leaderboard tbody tr').count()).toBe(20);
      expect(await page.locator('#trial-table tbody tr').count()).toBe(48);
      for (const drawing of await page.locator('.plot svg').all()) {
        const box = await drawing.boundingBox();
        expect(Math.min(box?.width ?? 0, box?.height ?? 0)).toBeGreaterThan(50);
      }
      expect(complaints).toEqual([]);
      await page.locator('details.trial summary').first().click();
      expect(await page.locator('details.trial[open] table').first().isVisible()).toBe(true);
    }
  });

  it('fits a narrow screen: only tables and drawings scroll sideways, each by itself', async (context) => {
    needChromium(context);
    for (const name of ['usual', 'hostile'] as const) {
      const { page } = await openPage(name, { viewport: { width: 360, height: 800 } });
      await enliven(page);
      expect(await overflow(page)).toBe(0);
    }
  });

  it('follows light and dark, and can be switched', async (context) => {
    needChromium(context);
    const paper = (page: Page): Promise<string> =>
      page.evaluate('getComputedStyle(document.documentElement).backgroundColor');
    const light = (await openPage('usual', { colorScheme: 'light' })).page;
    const dark = (await openPage('usual', { colorScheme: 'dark' })).page;
    expect(await paper(light)).toBe('rgb(255, 255, 255)');
    expect(await paper(dark)).toBe('rgb(15, 20, 25)');
    await dark.locator('#theme button').click();
    expect(await paper(dark)).toBe('rgb(255, 255, 255)');
    // A drawing follows too: its colours are properties of the page.
    const bar = (page: Page): Promise<string> =>
      page.evaluate(
        `getComputedStyle(document.querySelector('#chart-heatmap .plot [fill="var(--heat-8)"]')).fill`,
      );
    expect(await bar(light)).not.toBe(await bar((await openPage('usual', { colorScheme: 'dark' })).page));
  });

  it('opens the experiment a link names, in small and in packed runs', async (context) => {
    needChromium(context);
    for (const [name, id] of [
      ['usual', 'exp_014'],
      ['large', 'exp_1014'],
    ] as const) {
      const { page, complaints } = await openPage(name, {}, `#trial=${id}`);
      const details = page.locator(`details[id="trial=${id}"][open]`);
      await details.waitFor();
      expect(await details.locator('summary').textContent()).toContain(id);
      expect(await details.locator('caption').first().textContent()).toBe('Attempts');
      expect(complaints).toEqual([]);
    }
    const { page } = await openPage('large', {}, '#trial=nobody');
    await page.getByText('There is no experiment nobody in this run.').waitFor();
  });

  it('searches, filters, sorts and pages all 2,000 experiments', async (context) => {
    needChromium(context);
    const { page } = await openPage('large');
    const rows = page.locator('#trial-table tbody tr');
    const count = page.locator('#trial-count');
    await page.getByText('1 to 100 of 2000 experiments').waitFor();
    expect(await rows.count()).toBe(100);
    await page.getByLabel('Next page').click();
    expect(await count.textContent()).toBe('101 to 200 of 2000 experiments');
    await page.getByLabel('Search experiments').fill('herg morgan svm');
    expect(await count.textContent()).toMatch(/^1 to 42 of 42 /);
    await page.locator('#trial-table thead button', { hasText: 'Test AUC-ROC' }).click();
    const values = (await rows.locator('td:nth-child(6)').allTextContents()).map(Number);
    expect(values).toEqual([...values].sort((a, b) => b - a));
    expect(await page.locator('#trial-table th[aria-sort=descending]').count()).toBe(1);
    await page.locator('#trial-tools select').selectOption('failed');
    const states = await rows.evaluateAll((all) => all.map((row) => row.getAttribute('data-state')));
    expect(new Set(states)).toEqual(new Set(['failed']));
    await page.getByLabel('Search experiments').fill('no such thing');
    expect(await count.textContent()).toBe('No experiment matches');
  });

  it('zooms and filters all charts over time together, by button and by keyboard', async (context) => {
    needChromium(context);
    const { page } = await openPage('usual');
    await enliven(page);
    const timeline = page.locator('#chart-timeline');
    // Labels of the axes and the number of things drawn.
    const ticks = async (id: string): Promise<string> => {
      const plot = page.locator(`#chart-${id} .plot`);
      const labels = await plot.locator('.role-axis-label text').allTextContents();
      return `${labels.sort().join(' ')}, ${await plot.locator('.role-mark path').count()}`;
    };
    const before = { timeline: await ticks('timeline'), cpu: await ticks('cpu') };
    await timeline.locator('.plot').focus();
    await page.keyboard.press('+');
    await expect.poll(() => ticks('cpu')).not.toBe(before.cpu);
    await expect.poll(() => ticks('timeline')).not.toBe(before.timeline);
    await page.keyboard.press('0');
    await expect.poll(() => ticks('cpu')).toBe(before.cpu);
    await timeline.getByLabel('Runtime').selectOption('clove');
    await expect.poll(() => ticks('cpu')).not.toBe(before.cpu);
    expect(await page.locator('#chart-cpu select').inputValue()).toBe('clove');
  });

  it('tells what a bar is on hover, as plain text', async (context) => {
    needChromium(context);
    const { page } = await openPage('hostile');
    await enliven(page);
    const cell = page.locator('#chart-heatmap .plot svg path[fill^="var(--heat-"]').first();
    const tip = page.locator('.tip');
    // Scrolling hides the tip, and its event comes after the pointer's: so move once more.
    await expect
      .poll(async () => {
        await cell.hover({ force: true });
        await page.mouse.move(0, 0);
        await cell.hover({ force: true });
        return tip.isVisible();
      })
      .toBe(true);
    await tip.waitFor();
    expect(await tip.textContent()).toContain('<script>');
    expect(await tip.locator('*').count()).toBe(0);
  });

  it('saves the record it carries', async (context) => {
    needChromium(context);
    const { page } = await openPage('usual', { acceptDownloads: true });
    const started = page.waitForEvent('download');
    await page.getByLabel('Save the embedded record').click();
    const stream = await (await started).createReadStream();
    let text = '';
    for await (const piece of stream) text += String(piece);
    expect(JSON.parse(text)).toEqual(makeResults());
  });

  it('can be used by keyboard: every stop has a name, can be seen, and is in order', async (context) => {
    needChromium(context);
    const { page } = await openPage('usual');
    await page.locator('#trial-tools').locator('input').waitFor({ state: 'attached' });
    const stops: { name: string; outline: string; top: number }[] = [];
    for (let press = 0; press < 40; press++) {
      await page.keyboard.press('Tab');
      stops.push(
        await page.evaluate(`(() => {
          const e = document.activeElement;
          const style = getComputedStyle(e);
          return { name: e.getAttribute('aria-label') || e.textContent.trim(), outline: style.outlineStyle, top: e.getBoundingClientRect().top + scrollY };
        })()`),
      );
    }
    expect(stops[0]?.name).toBe('Skip to the content');
    for (const stop of stops) {
      expect(stop.name).not.toBe('');
      expect(stop.outline, stop.name).not.toBe('none');
    }
  });

  it('has landmarks, headings in order, captions, scopes and descriptions', async (context) => {
    needChromium(context);
    const { page } = await openPage('usual');
    const facts = (await page.evaluate(`(() => {
      const all = (s) => [...document.querySelectorAll(s)];
      const ids = all('[id]').map((e) => e.id);
      return {
        lang: document.documentElement.lang,
        landmarks: ['header', 'nav', 'main', 'footer'].map((s) => all('body > ' + s).length),
        h1: all('h1').length,
        levels: all('h1,h2,h3,h4').map((e) => Number(e.tagName[1])),
        noCaption: all('table').filter((t) => !t.caption || t.caption.textContent.trim() === '').length,
        noScope: all('th').filter((t) => !t.scope).length,
        noName: all('figure, section, [role=region], [role=img], nav').filter((e) => !e.getAttribute('aria-label') && !document.getElementById(e.getAttribute('aria-labelledby'))).length,
        noText: all('[role=img]').filter((e) => (document.getElementById(e.getAttribute('aria-describedby'))?.textContent ?? '').trim() === '').length,
        doubled: ids.filter((id, i) => ids.indexOf(id) !== i),
        dangling: all('a[href^="#"]').map((a) => a.getAttribute('href').slice(1)).filter((id) => !document.getElementById(id)),
        unlabelled: all('input, select, button').filter((e) => !e.getAttribute('aria-label') && !e.closest('label') && e.textContent.trim() === '').length,
      };
    })()`)) as Record<string, unknown> & { levels: number[] };
    expect(facts).toMatchObject({
      lang: 'en',
      landmarks: [1, 1, 1, 1],
      h1: 1,
      noCaption: 0,
      noScope: 0,
      noName: 0,
      noText: 0,
      doubled: [],
      dangling: [],
      unlabelled: 0,
    });
    for (const [index, level] of facts.levels.entries()) {
      expect(level).toBeLessThanOrEqual((facts.levels[index - 1] ?? 0) + 1);
    }
  });

  it('prints without controls', async (context) => {
    needChromium(context);
    const { page } = await openPage('usual', { colorScheme: 'dark' });
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    expect(await page.locator('nav.contents').isVisible()).toBe(false);
    expect(await page.evaluate('getComputedStyle(document.documentElement).backgroundColor')).toBe(
      'rgb(255, 255, 255)',
    );
  });
});
