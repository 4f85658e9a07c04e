import { describe, expect, it } from 'vitest';
import { headersForOtherOrigin, prepareHeaders, receivedHeaders } from './headers.ts';
import { type Hop, nextHop } from './redirects.ts';

const url = new URL('https://one.example/path?x=1');

describe('headers of a request', () => {
  it('go out in lower case with defaults for what was not given', () => {
    expect({ ...prepareHeaders({ 'X-Key': 'v', Accept: 'text/html' }, url, 0) }).toEqual({
      'x-key': 'v',
      accept: 'text/html',
      'accept-encoding': 'gzip, deflate, br, zstd',
      'user-agent': expect.stringMatching(/^clove\//),
    });
  });

  it('about the connection are the kernel’s; host and length may be said when they are right', () => {
    const headers = prepareHeaders(
      { Host: 'ONE.example', 'Content-Length': '5', Connection: 'keep-alive', TE: 'trailers' },
      url,
      5,
    );
    expect(Object.keys(headers).sort()).toEqual(['accept', 'accept-encoding', 'user-agent']);
  });

  it.each<[string, Record<string, string>]>([
    ['another host than the URL’s', { Host: 'two.example' }],
    ['another length', { 'content-length': '6' }],
    ['framing', { 'Transfer-Encoding': 'chunked' }],
    ['an upgrade', { Upgrade: 'websocket' }],
    ['an expectation', { Expect: '100-continue' }],
    ['a line break in a value', { x: 'a\r\nHost: two.example' }],
    ['a line break in a name', { 'x\r\ny': 'a' }],
    ['NUL', { x: 'a\0' }],
    ['no Latin-1', { x: 'ā' }],
    ['an empty name', { '': 'a' }],
    ['a name given twice', { A: '1', a: '2' }],
    ['too many', Object.fromEntries(Array.from({ length: 129 }, (_, index) => [`x${index}`, '']))],
    ['too large', { x: 'a'.repeat(40_000) }],
  ])('%s is refused', (_what, headers) => {
    expect(() => prepareHeaders(headers, url, 5)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });

  it('named like members of objects are headers', () => {
    const given = JSON.parse('{"__proto__":"x","constructor":"y"}');
    const headers = prepareHeaders(given, url, 0);
    expect(Object.hasOwn(headers, '__proto__')).toBe(true);
    expect(headers.constructor).toBe('y');
  });
});

it('headers of a response have one value per name, cookies also one by one', () => {
  const raw = ['A', '1', 'Set-Cookie', 'x=1, y', 'a', '2', 'set-cookie', 'z=3', '__proto__', 'p'];
  const { headers, setCookies } = receivedHeaders(raw);
  expect(Object.entries(headers)).toEqual([
    ['a', '1, 2'],
    ['set-cookie', 'x=1, y, z=3'],
    ['__proto__', 'p'],
  ]);
  expect(setCookies).toEqual(['x=1, y', 'z=3']);
});

describe('redirects', () => {
  const hop = (method: string): Hop => ({
    url,
    method,
    headers: {
      authorization: 'secret',
      cookie: 'c',
      'x-api-key': 'k',
      accept: 'a',
      'content-type': 'text/plain',
    },
    body: method === 'GET' ? null : Buffer.from('body'),
  });

  it.each([
    [301, 'POST', 'GET', false],
    [302, 'POST', 'GET', false],
    [303, 'POST', 'GET', false],
    [303, 'PUT', 'GET', false],
    [301, 'PUT', 'PUT', true],
    [302, 'DELETE', 'DELETE', true],
    [307, 'POST', 'POST', true],
    [308, 'POST', 'POST', true],
  ] as const)('%i after %s is %s', (status, method, expected, withBody) => {
    const next = nextHop(hop(method), status, '/there');
    expect(next?.method).toBe(expected);
    expect(next?.body !== null).toBe(withBody);
    expect(next !== null && 'content-type' in next.headers).toBe(withBody);
    expect(next?.url.href).toBe('https://one.example/there');
    expect(next?.headers.authorization).toBe('secret');
  });

  it('303 after HEAD stays HEAD', () => {
    expect(nextHop({ ...hop('HEAD'), body: null }, 303, '/x')?.method).toBe('HEAD');
  });

  it('need a status and a place', () => {
    expect(nextHop(hop('GET'), 200, '/x')).toBeNull();
    expect(nextHop(hop('GET'), 300, '/x')).toBeNull();
    expect(nextHop(hop('GET'), 304, '/x')).toBeNull();
    expect(nextHop(hop('GET'), 302, undefined)).toBeNull();
  });

  it.each(['https://two.example/', 'http://one.example/', 'https://one.example:8443/', '//two.example'])(
    'to %s take nothing secret along',
    (location) => {
      const next = nextHop(hop('GET'), 307, location);
      expect(Object.keys(next?.headers ?? {}).sort()).toEqual(['accept', 'content-type']);
    },
  );

  it.each([
    'file:///etc/passwd',
    'gopher://x:70/',
    'ftp://x',
    'data:text/html,x',
    'https://u:p@one.example/',
  ])('to %s are refused', (location) => {
    expect(() => nextHop(hop('GET'), 302, location)).toThrow(expect.objectContaining({ code: 'FORBIDDEN' }));
  });

  it('to a place that makes no sense are errors', () => {
    expect(() => nextHop(hop('GET'), 302, 'http://[')).toThrow(expect.objectContaining({ code: 'IO' }));
  });
});

it('only what names no secret goes to another origin', () => {
  expect(headersForOtherOrigin({ 'proxy-authorization': 'x', 'x-token': 'x', 'user-agent': 'u' })).toEqual({
    'user-agent': 'u',
  });
});
