import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { compare, DEFAULT_COMPARE, measuredOf } from '../../bench/compare/index.ts';
import { makeResults } from '../fixture.ts';
import { CHROMIUM, CHROMIUM_ARGUMENTS } from '../page/testing.ts';
import { githubAnnotations } from './github.ts';
import { renderComparisonHtml } from './render-html.ts';
import { renderJunit } from './render-junit.ts';
import { renderComparisonMarkdown } from './render-markdown.ts';

const HOSTILE = `<script>window.__xss=1</script>]]>"><img src=x onerror=window.__xss=2>\n::error::owned\u001b[2J|x|`;

function comparison(options: { hostile?: string; worse?: boolean } = {}) {
  const before = makeResults({ seed: 7, runtimes: ['clove'], hostile: options.hostile ?? null });
  const after = makeResults({ seed: 7, runtimes: ['clove'], hostile: options.hostile ?? null });
  const side = measuredOf(after);
  const changed = {
    ...side,
    trials: side.trials.map((trial, index) => ({
      ...trial,
      values: options.worse
        ? { ...trial.values, 'test.aucRoc': (trial.values['test.aucRoc'] ?? 0) - 0.03 - index * 1e-4 }
        : trial.values,
    })),
  };
  return compare(measuredOf(before), changed, { ...DEFAULT_COMPARE, failOn: 'auc:-0.01,wall:+10%' });
}

describe('a comparison for people and machines', () => {
  it('says in Markdown what failed, by how much and why', () => {
    const text = renderComparisonMarkdown(comparison({ worse: true }));
    expect(text).toContain('## Fail: drug-discovery');
    expect(text).toMatch(/AUC-ROC \| ▼ worse \| 0\.\d{4} \| 0\.\d{4} \| −0\.03\d\d/);
    expect(text).toContain('| auc:-0.01 | Fail |');
    expect(text).toContain('| wall:+10% | Pass |');
  });

  it('is JUnit that a strict parser reads: one case a rule', () => {
    const xml = renderJunit(comparison({ worse: true, hostile: HOSTILE }));
    const read = spawnSync(
      'python3',
      [
        '-c',
        `import sys, json, xml.etree.ElementTree as E
root = E.fromstring(sys.stdin.read())
print(json.dumps([[c.get('name'), [k.tag for k in c]] for c in root.iter('testcase')]))`,
      ],
      { input: xml, encoding: 'utf8' },
    );
    expect(read.stderr).toBe('');
    expect(JSON.parse(read.stdout)).toEqual([
      ['auc:-0.01', ['failure']],
      ['wall:+10%', ['system-out']],
    ]);
  });

  it('annotates what is broken, and lets no text start a command of its own', () => {
    const lines = githubAnnotations(comparison({ worse: true, hostile: HOSTILE }));
    expect(lines[0]).toMatch(/^::error title=clove .*auc%3A-0\.01::−0\.03/);
    for (const line of lines) {
      expect(line).toMatch(/^::(error|warning|notice) /);
      expect(line).not.toMatch(/[\r\n]/);
    }
  });

  it('is the same page every time, and hostile text is inert in a browser', async (context) => {
    const page = await renderComparisonHtml(comparison({ worse: true, hostile: HOSTILE }));
    expect(await renderComparisonHtml(comparison({ worse: true, hostile: HOSTILE }))).toBe(page);
    expect(page).not.toContain('<script>window');
    if (!existsSync(CHROMIUM)) context.skip(`no browser at ${CHROMIUM} (set CLOVE_CHROMIUM)`);
    const folder = mkdtempSync(path.join(tmpdir(), 'clove-comparison-'));
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_ARGUMENTS });
    try {
      const file = path.join(folder, 'comparison.html');
      writeFileSync(file, page);
      const tab = await browser.newPage();
      const complaints: string[] = [];
      tab.on('console', (message) => complaints.push(message.text()));
      tab.on('pageerror', (error) => complaints.push(error.message));
      await tab.goto(String(pathToFileURL(file)));
      await tab.locator('figure[data-chart]').scrollIntoViewIfNeeded();
      await tab.locator('figure[data-chart][data-live]').waitFor();
      expect(await tab.locator('#verdict strong').textContent()).toBe('Fail');
      expect(await tab.evaluate('window.__xss')).toBeUndefined();
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
      rmSync(folder, { recursive: true });
    }
  });
});
