import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Budget, Glob } from './glob.ts';

const matches = (pattern: string, path: string) => new Glob(pattern, false).matches(path);
const isWithin = (a: string, b: string) => new Glob(a, false).isWithin(new Glob(b, false), new Budget());

describe('a pattern', () => {
  it.each([
    ['/tmp/*', '/tmp/a', true],
    ['/tmp/*', '/tmp/a/b', false],
    ['/tmp/*', '/tmp/.hidden', true],
    ['/tmp/*', '/tmp/', true],
    ['/tmp/**', '/tmp/a/b/.c', true],
    ['/tmp/**', '/tmp', false],
    ['/tmp/**', '/tmpx/a', false],
    ['/a/**/b', '/a/b', true],
    ['/a/**/b', '/a/x/y/b', true],
    ['/a/**/b', '/a/xb', false],
    ['/a/**/**/b', '/a/b', true],
    ['/**/.env', '/.env', true],
    ['/**/.env', '/deep/er/.env', true],
    ['/**/.env', '/deep/x.env', false],
    ['/**/*token*', '/a/my-token.txt', true],
    ['/a?c', '/abc', true],
    ['/a?c', '/a/c', false],
    ['/a?c', '/a😀c', true],
    ['/a**c', '/ab/d/c', true],
    ['/a/***/b', '/a/b', true],
    ['/[a]', '/a', false],
    ['/a.c', '/abc', false],
    ['/A', '/a', false],
  ])('%s on %s: %s', (pattern, path, expected) => {
    expect(matches(pattern, path)).toBe(expected);
  });

  it('that is closed matches what lies below, too', () => {
    const glob = new Glob('/**/secret*', true);
    expect(glob.matches('/a/secrets/deep/key')).toBe(true);
    expect(glob.matches('/a/secret')).toBe(true);
    expect(glob.matches('/a/nosecret/x')).toBe(false);
  });

  it('takes the same time however it is contrived', () => {
    const hostile = new Glob(`/${'*a'.repeat(120)}b`, false);
    expect(hostile.matches(`/${'a'.repeat(4000)}`)).toBe(false);
  });
});

const piece = fc.constantFrom('a', 'b', '/', '*', '**', '?', '/**/');
const pattern = fc.array(piece, { maxLength: 6 }).map((pieces) => `/${pieces.join('')}`);
const path = fc
  .array(fc.constantFrom('a', 'b', '/', 'c'), { maxLength: 8 })
  .map((characters) => `/${characters.join('')}`);

/** The same language, by the means of the platform. */
function asRegExp(text: string): RegExp {
  const source = text.replace(/\*{3,}/g, '**').replace(/(?<=\/)(?:\*\*\/)+|\*\*|\*|\?/g, (token) => {
    if (token.endsWith('/')) return '(?:.*/)?';
    if (token === '?') return '[^/]';
    return token === '*' ? '[^/]*' : '.*';
  });
  return new RegExp(`^${source}$`, 's');
}

describe('matching', () => {
  it('agrees with a regular expression', () => {
    fc.assert(
      fc.property(pattern, path, (text, file) => {
        expect(matches(text, file), `${text} ${asRegExp(text)} ${file}`).toBe(asRegExp(text).test(file));
      }),
      { numRuns: 200 },
    );
  });
});

describe('inclusion', () => {
  it.each([
    ['/tmp/a', '/tmp/*', true],
    ['/tmp/*', '/tmp/**', true],
    ['/tmp/**', '/tmp/*', false],
    ['/tmp/**', '/**', true],
    ['/**/x/.env', '/**/.env', true],
    ['/**/.env', '/**/x/.env', false],
    ['/a/*b*', '/a/*', true],
    ['/a/?', '/a/*', true],
    ['/a/*', '/a/?', false],
    ['/a/**/b', '/a/**', true],
  ])('%s within %s: %s', (a, b, expected) => {
    expect(isWithin(a, b)).toBe(expected);
  });

  it('never says yes where a path shows otherwise', () => {
    fc.assert(
      fc.property(pattern, pattern, path, (a, b, file) => {
        fc.pre(matches(a, file) && !matches(b, file));
        expect(isWithin(a, b)).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  it('says no rather than to compute for long', () => {
    // To tell would take a set of states for every combination of the last letters.
    const contrived = (letters: number) =>
      isWithin(`/*a${'?'.repeat(letters)}`, `/**a${'?'.repeat(letters)}`);
    expect(contrived(8)).toBe(true);
    expect(contrived(24)).toBe(false);
  });
});
