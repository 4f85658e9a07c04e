import { describe, expect, it } from 'vitest';
import {
  formatBytes,
  formatChange,
  formatCount,
  formatDuration,
  formatMetric,
  formatNumber,
  formatPercent,
  formatTime,
  plural,
} from './format.ts';

describe('figures as text', () => {
  it.each([
    [0, '0 ms'],
    [0.4219, '0.42 ms'],
    [4.26, '4.3 ms'],
    [38.4, '38 ms'],
    [1240, '1.24 s'],
    [53_100, '53.1 s'],
    [59_960, '1 min 00 s'],
    [125_400, '2 min 05 s'],
    [3_599_900, '1 h 00 min'],
    [-1500, '−1.50 s'],
  ])('writes %d ms as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1536, '1.5 KiB'],
    [1024 * 1024 - 1, '1.0 MiB'],
    [268_435_456, '256 MiB'],
  ])('writes %d bytes as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it('never writes a missing figure as zero', () => {
    for (const format of [formatDuration, formatBytes, formatCount, formatNumber, formatPercent]) {
      expect(format(null)).toBe('–');
      expect(format(Number.NaN)).toBe('–');
    }
    expect(formatMetric(null, '.3f')).toBe('–');
  });

  it('follows the specifiers scenarios use', () => {
    expect(formatMetric(0.92444, '.3f')).toBe('0.924');
    expect(formatMetric(0.125, '.1%')).toBe('12.5 %');
    expect(formatMetric(1234.5, ',d')).toBe('1,235');
    expect(formatMetric(-0.5, '+.2f')).toBe('−0.50');
    expect(formatMetric(0.5, '+.2f')).toBe('+0.50');
    expect(formatMetric(1234.5678, ',.2f')).toBe('1,234.57');
    expect(formatMetric(0.000123, '.2e')).toBe('1.23e-4');
    expect(formatMetric(0.123456, 'nonsense')).toBe('0.1235');
  });

  it('says how far a figure lies from another', () => {
    expect(formatChange(110, 100)).toBe('+10 %');
    expect(formatChange(97.5, 100)).toBe('−2.5 %');
    expect(formatChange(100, 100)).toBe('±0 %');
    expect(formatChange(2000, 100)).toBe('×20');
    expect(formatChange(1, 0)).toBe('');
    expect(formatChange(null, 1)).toBe('');
  });

  it('writes counts, shares, times and plurals', () => {
    expect(formatCount(12_345)).toBe('12,345');
    expect(formatPercent(1)).toBe('100 %');
    expect(formatPercent(0.979)).toBe('97.9 %');
    expect(formatPercent(0.99951)).toBe('99.9 %');
    expect(formatPercent(0.0002)).toBe('<0.1 %');
    expect(formatPercent(0)).toBe('0 %');
    expect(formatTime('2026-11-20T05:04:17.000Z')).toBe('2026-11-20 05:04 UTC');
    expect(formatTime('soon')).toBe('soon');
    expect(plural(1, 'retry', 'retries')).toBe('1 retry');
    expect(plural(2, 'retry', 'retries')).toBe('2 retries');
  });
});
