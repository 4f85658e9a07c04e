import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from './canonical.ts';
import { boundText, MAX_DETAIL_CHARS, redactText, summarise } from './summary.ts';

describe('the canonical encoding', () => {
  it('is one line of printable ASCII that reads back as what was written, and writes back the same bytes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4, stringUnit: 'binary' }), (value) => {
        const text = canonicalJson(value);
        expect(text).toMatch(/^[\x20-\x7e]*$/);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
      { numRuns: 200 },
    );
  });

  it('does not depend on the order in which members were set', () => {
    expect(canonicalJson({ b: 1, a: { '10': 1, '9': 2 } })).toBe(
      canonicalJson({ a: { '9': 2, '10': 1 }, b: 1 }),
    );
    expect(canonicalJson({ 'ключ\u001b\u009b\u202e': '\ud800\n' })).toBe(
      '{"\\u043a\\u043b\\u044e\\u0447\\u001b\\u009b\\u202e":"\\ud800\\n"}',
    );
  });
});

describe('the summary of a request', () => {
  it('is canonical and bounded, whatever the request', () => {
    fc.assert(
      fc.property(fc.object({ maxDepth: 4, maxKeys: 40, stringUnit: 'binary' }), (value) => {
        const text = summarise(value);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
        expect(text.length).toBeLessThanOrEqual(MAX_DETAIL_CHARS);
      }),
      { numRuns: 200 },
    );
    const large = {
      path: 'x'.repeat(2 ** 20),
      args: Array.from({ length: 10_000 }, () => '\u202e'.repeat(200)),
    };
    expect(summarise(large).length).toBeLessThanOrEqual(MAX_DETAIL_CHARS);
  });

  it('tells no contents and no secrets', () => {
    const secrets = {
      key: 'counter',
      value: { hunter2: 1 },
      content: 'hunter2',
      token: 'hunter2',
      headers: { Authorization: 'Bearer hunter2hunter2', accept: '*/*' },
      env: { API_KEY: 'hunter2', HOME: '/hunter2' },
      argv: [
        'curl',
        '--password',
        'hunter2',
        '--token=hunter2',
        'https://u:hunter2@example.org/?api_key=hunter2',
      ],
      command: 'PASSWORD=hunter2 run -H "Authorization: Bearer hunter2hunter2"',
    };
    const text = summarise(secrets);
    expect(text).not.toContain('hunter2');
    expect(JSON.parse(text)).toMatchObject({
      key: 'counter',
      value: { omitted: 'content', size: 1 },
      content: { omitted: 'content', size: 7 },
      headers: { accept: '*/*' },
      env: ['API_KEY', 'HOME'],
    });
  });

  it('redacts before it cuts, and says what was cut', () => {
    expect(redactText('sk-abcdefghijklmnopqrst')).toBe('[redacted]');
    expect(redactText('a plain sentence: nothing secret')).toBe('a plain sentence: nothing secret');
    expect(boundText(`${'a'.repeat(250)} token=abcdefghijkl`)).toBe(
      `${'a'.repeat(250)} token…(269 characters)`,
    );
    expect(boundText('short')).toBe('short');
  });
});
