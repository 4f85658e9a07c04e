import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import type { TrialOutcome } from '../../bench/types.ts';
import { makeFleetResults } from '../activity/fixture.ts';
import { renderHtml } from '../render-html.ts';
import { CHROMIUM, CHROMIUM_ARGUMENTS } from './testing.ts';

const HOSTILE = `<script>window.__xss=1</script>"><img src=x onerror=window.__xss=2>\u202e\u001b[2J`;
/** The machine may be busy with other tests. */
const PATIENCE_MS = 60_000;

let browser: Browser;
let folder: string;
const closing: (() => Promise<void>)[] = [];

beforeAll(async () => {
  if (!existsSync(CHROMIUM)) return;
  folder = await mkdtemp(path.join(tmpdir(), 'clove-fleet-page-'));
  await writeFile(path.join(folder, 'usual.html'), await renderHtml(makeFleetResults()));
  await writeFile(
    path.join(folder, 'hostile.html'),
    await renderHtml(makeFleetResults({ hostile: HOSTILE })),
  );
  const usual = makeFleetResults();
  await writeFile(
    path.join(folder, 'partial.html'),
    await renderHtml({
      ...usual,
      trials: usual.trials.map((trial, index) => (index === 2 ? withoutActivity(trial) : trial)),
    }),
  );
  browser = await chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_ARGUMENTS });
}, PATIENCE_MS);

afterAll(async () => {
  if (folder === undefined) return;
  for (const close of closing.splice(0)) await close();
  await browser.close();
  await rm(folder, { recursive: true });
});

function withoutActivity(trial: TrialOutcome): TrialOutcome {
  return {
    ...trial,
    attempts: trial.attempts.map((attempt) => {
      if (attempt.result?.fleet === undefined) return attempt;
      const { activity: _, ...fleet } = attempt.result.fleet;
      return { ...attempt, result: { ...attempt.result, fleet } };
    }),
  };
}

async function openPage(
  context: TestContext,
  name: 'usual' | 'hostile' | 'partial' = 'usual',
  options: BrowserContextOptions = {},
  hash = '',
): Promise<{ readonly page: Page; readonly complaints: string[] }> {
  if (!existsSync(CHROMIUM)) context.skip(`no browser at ${CHROMIUM} (set CLOVE_CHROMIUM)`);
  const own = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    reducedMotion: 'reduce',
    ...options,
  });
  closing.push(() => own.close());
  const page = await own.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const complaints: string[] = [];
  page.on('console', (message) => complaints.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(`${pathToFileURL(path.join(folder, `${name}.html`))}${hash}`);
  if (options.javaScriptEnabled !== false) {
    await page.locator('#activity-timeline[data-live=true]').waitFor();
    await page.locator('#compare-part table').first().waitFor();
  }
  return { page, complaints };
}

describe('the report of fleets in a browser', { timeout: PATIENCE_MS * 2 }, () => {
  it('comes to life without a complaint, also where names are hostile', async (context) => {
    for (const name of ['usual', 'hostile'] as const) {
      const { page, complaints } = await openPage(context, name);
      expect(complaints).toEqual([]);
      expect(await page.evaluate('window.__xss')).toBeUndefined();
      expect(await page.locator('#activity-part img').count()).toBe(0);
    }
  });

  it('zooms, moves and steps through events by keyboard, and tells what each is', async (context) => {
    const { page } = await openPage(context);
    const plot = page.locator('#activity-timeline .plot');
    const times = () => plot.locator('svg text[text-anchor=middle]').allTextContents();
    const whole = await times();
    expect(whole[0]).toBe('08:00:00');
    await plot.focus();
    await page.keyboard.press('+');
    await page.keyboard.press('+');
    const zoomed = await times();
    expect(zoomed).not.toEqual(whole);
    await page.keyboard.press('ArrowRight');
    expect(await times()).not.toEqual(zoomed);
    expect(await page.locator('#activity-messages-count').textContent()).toMatch(/^1 to \d+ of (?!67)\d+ /);
    await page.keyboard.press('0');
    expect(await times()).toEqual(whole);
    const told = page.locator('#activity-timeline .chosen');
    await page.keyboard.press('n');
    expect(await told.textContent()).toContain('08:00:00.000  collector  file: read /var/log/lab.log');
    await page.keyboard.press('n');
    expect(await told.textContent()).toContain('analyst  message: incident → responder');
    await page.keyboard.press('p');
    expect(await told.textContent()).toContain('collector');
    expect(await plot.locator('circle').count()).toBe(1);
  });

  it('filters by agent and kind, and changes to the time of the trial', async (context) => {
    const { page } = await openPage(context);
    const figure = page.locator('#activity-timeline');
    await figure.locator('summary', { hasText: 'Agents: all 3' }).click();
    await figure.getByLabel('analyst').uncheck();
    expect(await figure.locator('summary', { hasText: 'Agents: 2 of 3' }).count()).toBe(1);
    expect(await figure.locator('.plot svg text[text-anchor=end]').allTextContents()).toEqual([
      'collector',
      'responder',
    ]);
    await figure.locator('summary', { hasText: 'Agents:' }).click();
    await page.getByText('No message in what the timeline shows').waitFor();
    await figure.locator('summary', { hasText: 'Kinds: all' }).click();
    await figure.getByLabel('file').uncheck();
    await figure.locator('summary', { hasText: 'Kinds:' }).click();
    await figure.locator('summary', { hasText: 'Every event' }).click();
    await page.getByText(/^1 to 60 of 66 events$/).waitFor();
    await figure.getByLabel('Later events').click();
    await page.getByText('61 to 66 of 66 events').waitFor();
    await figure.getByLabel('Clock').selectOption('real');
    expect((await figure.locator('.plot svg text[text-anchor=middle]').allTextContents())[0]).toMatch(/ s$/);
  });

  it('shows many messages in pages, by type', async (context) => {
    const { page } = await openPage(context);
    const figure = page.locator('#activity-messages');
    const count = page.locator('#activity-messages-count');
    expect(await count.textContent()).toMatch(/^1 to 30 of 67 messages/);
    await figure.getByLabel('Later messages').click();
    await figure.getByLabel('Later messages').click();
    expect(await count.textContent()).toMatch(/^61 to 67 of 67/);
    expect(await figure.getByLabel('Later messages').isDisabled()).toBe(true);
    await figure.getByLabel('Type').selectOption('incident');
    expect(await count.textContent()).toMatch(/^1 to 30 of 67/);
  });

  it('tells what is under the pointer, as plain text', async (context) => {
    const { page } = await openPage(context, 'hostile');
    const svg = page.locator('#activity-timeline .plot svg');
    const tip = page.locator('.tip', { hasText: 'collector' });
    await expect
      .poll(
        async () => {
          await svg.hover({ position: { x: 300, y: 60 }, force: true });
          await svg.hover({ position: { x: 169, y: 20 }, force: true });
          return tip.isVisible();
        },
        { timeout: PATIENCE_MS },
      )
      .toBe(true);
    expect(await tip.textContent()).toContain('<script>');
    expect(await tip.locator('*').count()).toBe(0);
  });

  it('opens the trial that a link names, or the reader chooses', async (context) => {
    const { page, complaints } = await openPage(context, 'usual', {}, '#activity=exp_002/clove');
    const title = page.locator('#activity-timeline-title');
    const select = page.locator('#activity-trial');
    await expect.poll(() => select.inputValue(), { timeout: PATIENCE_MS }).toBe('1');
    const before = await title.textContent();
    await select.selectOption('2');
    await expect.poll(() => title.textContent(), { timeout: PATIENCE_MS }).not.toBe(before);
    await page.locator('#activity-timeline[data-live=true]').waitFor();
    expect(complaints).toEqual([]);
  });

  it('leads from the drill-down of a trial to what it did, and back', async (context) => {
    const { page, complaints } = await openPage(context, 'usual', {}, '#trial=exp_002');
    await page.getByRole('link', { name: 'who did what when, under clove' }).click();
    await expect
      .poll(() => page.locator('#activity-trial').inputValue(), { timeout: PATIENCE_MS })
      .not.toBe('0');
    expect(new URL(page.url()).hash).toBe('#activity=exp_002/clove');
    await page.locator('[data-activity][id="activity=exp_002/clove"]').waitFor({ state: 'attached' });
    await page
      .locator('#activity-timeline')
      .getByRole('link', { name: 'Attempts, figures and logs' })
      .click();
    await page.locator('details.trial.found[open]').waitFor();
    expect(complaints).toEqual([]);
  });

  it('compares the logs of two trials, and says what it cannot compare', async (context) => {
    const { page } = await openPage(context, 'partial');
    const part = page.locator('#compare-part');
    const logs = part.getByRole('region', { name: 'Last lines of the logs' });
    expect(await logs.locator('tr.differs').count()).toBeGreaterThan(0);
    expect(await part.locator('.not-compared').count()).toBe(0);
    await page.locator('#compare-tools').getByLabel('B').selectOption('exp_003/clove');
    await part
      .getByText('What each agent did is not compared: of exp_003/clove it was not recorded.')
      .waitFor();
    await page.locator('#compare-tools').getByLabel('B').selectOption('exp_001/clove');
    await part.getByText(/^The logs are the same/).waitFor();
  });

  it('compares two trials: figures, checks, and where they part ways', async (context) => {
    const { page, complaints } = await openPage(context);
    const part = page.locator('#compare-part');
    expect(await part.locator('.first-divergence').textContent()).toBe(
      'First divergence: analyst, after 3 events that are the same. Not everything is kept: the first one may be earlier.',
    );
    expect(await part.locator('tr.differs', { hasText: 'Every attack is detected' }).textContent()).toMatch(
      /3 of 3.*2 of 3/,
    );
    expect(await part.locator('tr', { hasText: '▶' }).textContent()).toContain('command: exec sh');
    await page.locator('#compare-tools').getByLabel('B').selectOption('exp_003/clove');
    await part.getByText('Of what is kept of both, every agent did the same').waitFor();
    expect(complaints).toEqual([]);
  });

  it('shows verdict, drawings and tables without scripts, and prints all of it', async (context) => {
    const { page } = await openPage(context, 'usual', { javaScriptEnabled: false });
    expect(await page.locator('#verdict').isVisible()).toBe(true);
    for (const figure of ['#activity-timeline', '#activity-messages']) {
      const box = await page.locator(`${figure} .plot svg`).boundingBox();
      expect(Math.min(box?.width ?? 0, box?.height ?? 0)).toBeGreaterThan(50);
    }
    expect(await page.getByText('syscall.not-granted:KILL').first().isVisible()).toBe(true);
    for (const id of ['exp_002', 'exp_003']) {
      const other = page.locator(`details[id="activity=${id}/clove"]`);
      await other.locator('summary').first().click();
      const box = await other.locator('.plot svg').first().boundingBox();
      expect(Math.min(box?.width ?? 0, box?.height ?? 0)).toBeGreaterThan(50);
    }
    await page.emulateMedia({ media: 'print' });
    expect(await page.locator('#activity-timeline .tools').first().isVisible()).toBe(false);
    expect(await page.locator('#activity-messages .plot svg').isVisible()).toBe(true);
  });

  it('fits a narrow screen', async (context) => {
    for (const name of ['usual', 'hostile'] as const) {
      const { page } = await openPage(context, name, { viewport: { width: 360, height: 800 } });
      expect(
        await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'),
      ).toBe(0);
    }
  });

  it.for(['light', 'dark'] as const)('has text that can be read, %s', async (colorScheme, context) => {
    const { page } = await openPage(context, 'usual', { colorScheme });
    for (const summary of await page.locator('details.alternative > summary').all()) await summary.click();
    expect(await page.evaluate(CONTRAST)).toEqual([]);
  });

  it('names every control and every region', async (context) => {
    const { page } = await openPage(context);
    expect(
      await page.evaluate(`(() => {
        const all = (s) => [...document.querySelectorAll(s)];
        const ids = all('[id]').map((e) => e.id);
        return {
          doubled: ids.filter((id, i) => ids.indexOf(id) !== i),
          unlabelled: all('input, select, button').filter((e) => !e.getAttribute('aria-label') && !e.closest('label') && e.textContent.trim() === '').length,
          noName: all('figure, section, [role=region], [role=img], [role=group]').filter((e) => !e.getAttribute('aria-label') && !document.getElementById(e.getAttribute('aria-labelledby'))).length,
          noScope: all('th').filter((t) => !t.scope).length,
        };
      })()`),
    ).toEqual({ doubled: [], unlabelled: 0, noName: 0, noScope: 0 });
  });
});

/** Every visible text whose contrast by WCAG 2 is below 4.5 (3 where it is large), with its colours. */
const CONTRAST = `(() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = (text) => { const p = (text.match(/[\\d.]+/g) ?? []).map(Number); return { rgb: p.slice(0, 3), alpha: p[3] ?? 1 }; };
  const behind = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const { rgb, alpha } = parse(getComputedStyle(at).backgroundColor);
      if (alpha === 1) return rgb;
    }
    return parse(getComputedStyle(document.documentElement).backgroundColor).rgb;
  };
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim() !== '')) continue;
    if (!e.checkVisibility() || e.closest('script, noscript, .sr, .skip, :disabled')) continue;
    const style = getComputedStyle(e);
    const front = parse(e instanceof SVGElement ? style.fill : style.color).rgb;
    const back = behind(e);
    const [low, high] = [light(front), light(back)].sort((a, b) => a - b);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < (isLarge ? 3 : 4.5)) bad.push(e.tagName + ' ' + e.textContent.trim().slice(0, 40) + ' ' + front + ' on ' + back + ' ' + ratio.toFixed(2));
  }
  return bad.slice(0, 10);
})()`;
