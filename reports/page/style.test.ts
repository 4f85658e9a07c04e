import { describe, expect, it } from 'vitest';
import { HEAT_STEPS } from '../charts/heatmap.ts';
import { PALETTE, STYLE } from './style.ts';

type Theme = 0 | 1;
const THEMES = [
  ['light', 0],
  ['dark', 1],
] as const;

function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const channel = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return channel <= 0.03928 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Contrast by WCAG 2. */
function contrast(first: string, second: string, theme: Theme): number {
  const value = (name: string): number => {
    const pair = PALETTE[name];
    if (pair === undefined) throw new Error(`no colour ${name}`);
    return luminance(pair[theme]);
  };
  const [low, high] = [value(first), value(second)].sort((a, b) => a - b) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

describe.each(THEMES)('colours, %s', (_, theme) => {
  it.each<readonly [string, string]>([
    ['ink', 'paper'],
    ['ink', 'raised'],
    ['ink-2', 'paper'],
    ['ink-2', 'raised'],
    ['accent', 'paper'],
    ['pass-ink', 'pass-paper'],
    ['fail-ink', 'fail-paper'],
    ['none-ink', 'none-paper'],
    ['ink', 'pass-paper'],
    ['ink', 'fail-paper'],
    ['ink', 'none-paper'],
    ['accent', 'none-paper'],
    ['ink-2', 'heat-none'],
    ...Array.from({ length: HEAT_STEPS }, (_, step) => [`heat-ink-${step}`, `heat-${step}`] as const),
  ])('%s on %s can be read (4.5)', (text, paper) => {
    expect(contrast(text, paper, theme)).toBeGreaterThanOrEqual(4.5);
  });

  it.each([
    'passed',
    'failed',
    'collateral',
    'unmeasured',
    'rt-clove',
    'rt-process',
    'rt-thread',
    'rt-sequential',
    'line-strong',
  ])('%s can be told from the paper in a drawing (3)', (name) => {
    expect(contrast(name, 'paper', theme)).toBeGreaterThanOrEqual(3);
  });

  it('the palette of the heat map goes one way in lightness', () => {
    const steps = Array.from({ length: HEAT_STEPS }, (_, step) => luminance(PALETTE[`heat-${step}`]![theme]));
    const sorted = [...steps].sort((a, b) => (theme === 0 ? b - a : a - b));
    expect(steps).toEqual(sorted);
  });
});

describe('style sheet', () => {
  it('defines every colour it uses, fetches nothing and calms motion', () => {
    const used = new Set([...STYLE.matchAll(/var\(--([\w-]+)\)/g)].map(([, name]) => name as string));
    for (const name of used) expect(STYLE).toContain(`--${name}:`);
    expect(STYLE).not.toMatch(/url\(|@import|http/);
    expect(STYLE).toContain('prefers-reduced-motion');
  });
});
