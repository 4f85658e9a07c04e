import { describe, expect, it } from 'vitest';
import { isHostWithin, parseHostPattern } from './hosts.ts';
import { AGENT_HOME, levelGrants } from './levels.ts';
import { checkHttp } from './permissions.ts';
import { grantsOf, policyRequest } from './policy.ts';

const grants = (fields: object) => grantsOf(policyRequest.parse(fields), AGENT_HOME);
const some = grants({
  network: ['good.example', '*.wide.example', '[2001:db8::1]:8443', 'any.example:*'],
  http_methods: ['GET', 'post'],
});
const refusal = (url: string, method = 'GET') => checkHttp(some, url, method).refusal;

describe('a list of hosts', () => {
  it.each([
    'http://good.example/',
    'https://good.example/x?y#z',
    'https://GOOD.example',
    'https://good.example.',
    'https://good.example:443/',
    'http://good.example:80/',
    'http://a.wide.example/',
    'http://a.b.wide.example/',
    'http:good.example',
    'https://good\t.example/',
    'https://[2001:db8:0::1]:8443/',
    'http://any.example:9999/',
  ])('reaches %s', (url) => {
    expect(refusal(url)).toBeNull();
  });

  it.each([
    'http://evil.example/',
    'http://wide.example/',
    'http://xgood.example/',
    'http://good.example.evil.example/',
    'http://evil.example/good.example',
    'http://evil.example?good.example',
    'http://evil.example#good.example',
    'http://evil.example\\good.example',
    'http://evil.example\\@good.example',
    'http://good.example:8080/',
    'https://good.example:80/',
    'http://notwide.example/',
    'http://127.0.0.1/',
    'http://2130706433/',
    'http://ɡood.example/',
  ])('does not reach %s', (url) => {
    expect(refusal(url)).toMatch(/^(domain\.not-granted:|http\.credentials)/);
  });

  it.each([
    ['http://good.example@evil.example/', 'http.credentials'],
    ['http://good.example:x@evil.example/', 'http.credentials'],
    ['file:///etc/passwd', 'http.scheme:file'],
    ['gopher://good.example/', 'http.scheme:gopher'],
    ['ftp://good.example/', 'http.scheme:ftp'],
    ['data:text/plain,x', 'http.scheme:data'],
    ['good.example', 'http.bad-url'],
    ['http://', 'http.bad-url'],
    ['http://good.example:99999/', 'http.bad-url'],
  ])('refuses %s by %s', (url, rule) => {
    expect(refusal(url)).toBe(rule);
  });

  it('says what existing clients read', () => {
    expect(checkHttp(some, 'http://evil.example:81/', 'GET').message).toBe(
      'Permission denied: domain not in whitelist: evil.example:81',
    );
    expect(checkHttp(some, 'http://good.example/', 'PUT').message).toBe(
      'Permission denied: HTTP method not allowed',
    );
    expect(checkHttp(levelGrants('standard', AGENT_HOME), 'http://good.example/', 'GET')).toMatchObject({
      refusal: 'syscall.not-granted:HTTP',
      message: 'Permission denied: HTTP not allowed',
    });
  });
});

describe('a list of methods', () => {
  it('is of whole methods in any case', () => {
    expect(refusal('http://good.example/', 'get')).toBeNull();
    expect(refusal('http://good.example/', 'POST')).toBeNull();
    expect(refusal('http://good.example/', 'poſt')).toBe('method.not-granted:POſT');
    expect(refusal('http://good.example/', 'DELETE')).toBe('method.not-granted:DELETE');
  });

  it('that is missing permits none', () => {
    expect(checkHttp(grants({ network: ['*'] }), 'http://a.example/', 'GET').refusal).toBe(
      'method.not-granted:GET',
    );
    expect(checkHttp(grants({ http_methods: ['*'] }), 'http://a.example/', 'GET').refusal).toBe(
      'domain.not-granted:a.example',
    );
    expect(
      checkHttp(grants({ network: ['*'], http_methods: ['*'] }), 'http://a.example/', 'ODD').refusal,
    ).toBeNull();
  });
});

describe('a pattern', () => {
  it.each([
    '',
    'a/b',
    'http://a',
    'a@b',
    '*.',
    '*x',
    'a*b',
    '*.1.2.3.4',
    '*.[::1]',
    'a:99999',
    'a b',
    'a?b',
    '*.*',
  ])('%j is none', (text) => {
    expect(parseHostPattern(text)).toBeNull();
    expect(policyRequest.safeParse({ network: [text] }).success).toBe(false);
  });

  it.each([
    ['a.example', '*', true],
    ['*', 'a.example', false],
    ['a.b.example', '*.b.example', true],
    ['b.example', '*.b.example', false],
    ['*.a.b.example', '*.b.example', true],
    ['*.b.example', '*.a.b.example', false],
    ['A.example.', 'a.example', true],
    ['a.example:8080', 'a.example', false],
    ['a.example', 'a.example:*', true],
    ['a.example:*', 'a.example', false],
    ['münchen.example', 'xn--mnchen-3ya.example', true],
  ])('%s within %s: %s', (a, b, expected) => {
    expect(isHostWithin(a, b)).toBe(expected);
  });
});
