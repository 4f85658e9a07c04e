import { describe, expect, it } from 'vitest';
import { formatBytes, formatDuration } from './format.ts';
import { parseBytes, parseCount, parseDuration, parseList, parsePositive } from './parse.ts';

describe('option values', () => {
  it.each([
    ['256M', 256 * 2 ** 20],
    ['1.5GiB', 1.5 * 2 ** 30],
    ['4096', 4096],
    ['2k', 2048],
  ])('reads the size %s', (text, bytes) => expect(parseBytes(text, '--memory')).toBe(bytes));

  it.each([
    ['10s', 10_000],
    ['500ms', 500],
    ['2m', 120_000],
    ['3', 3000],
    ['1h', 3_600_000],
  ])('reads the duration %s', (text, ms) => expect(parseDuration(text, '--timeout')).toBe(ms));

  it.each(['', '-1', '0', 'ten', '10 parsecs', '1e400', 'Infinity', '0x10'])(
    'refuses %j as a size or duration',
    (text) => {
      expect(() => parseBytes(text, '--memory')).toThrow(/--memory/);
      expect(() => parseDuration(text, '--timeout')).toThrow(/--timeout/);
    },
  );

  it('refuses counts that are no whole numbers', () => {
    expect(parseCount('8', '--parallel')).toBe(8);
    for (const text of ['0', '1.5', '-3', '', 'x', '9007199254740993']) {
      expect(() => parseCount(text, '--parallel')).toThrow(/--parallel/);
    }
    expect(() => parsePositive('0', '--cpu')).toThrow(/--cpu/);
    expect(parsePositive('0.5', '--cpu')).toBe(0.5);
  });

  it('splits lists and refuses gaps', () => {
    expect(parseList('hERG, AMES', '--datasets')).toEqual(['hERG', 'AMES']);
    expect(() => parseList('a,,b', '--datasets')).toThrow(/empty/);
  });
});

describe('figures for people', () => {
  it.each([
    [3.21, '3.2 ms'],
    [640, '640 ms'],
    [59_949, '59.9 s'],
    [59_960, '1m 00s'],
    [125_000, '2m 05s'],
    [3_840_000, '1h 04m'],
    [Number.NaN, '–'],
  ])('writes %d ms as %s', (ms, text) => expect(formatDuration(ms)).toBe(text));

  it.each([
    [512, '512 B'],
    [3481, '3.4 KiB'],
    [256 * 2 ** 20, '256 MiB'],
  ])('writes %d bytes as %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));
});
