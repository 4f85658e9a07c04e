import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { httpRefusal } from '../permissions/hosts.ts';
import { canonical, isPublicAddress, ownAddresses } from './addresses.ts';
import { Resolver } from './resolve.ts';
import { hostOf, parseMethod, parseTarget, portOf } from './target.ts';

const noHosts = new Resolver(
  async () => [],
  () => new Set(),
);

const ANN = 7;

describe('addresses', () => {
  const INSIDE = [
    '0.0.0.0',
    '0.1.2.3',
    '10.0.0.1',
    '100.64.0.1',
    '100.100.100.200',
    '127.0.0.1',
    '127.255.255.254',
    '168.63.129.16',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.192',
    '192.0.2.1',
    '192.168.1.1',
    '198.18.0.1',
    '198.51.100.7',
    '203.0.113.9',
    '224.0.0.1',
    '239.255.255.255',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:8.8.8.8',
    '::127.0.0.1',
    '64:ff9b::127.0.0.1',
    '64:ff9b::a9fe:a9fe',
    '64:ff9b::',
    '64:ff9b:1::1',
    '100::1',
    '2001::1',
    '2001:db8::1',
    '2002:7f00:1::',
    '3fff::1',
    'fc00::1',
    'fd00:ec2::254',
    'fe80::1',
    'fe80::1%lo',
    'fec0::1',
    'ff02::1',
    '2606:4700::1%eth0',
    'not an address',
    '',
    '1.2.3',
  ];
  const PUBLIC = [
    '1.1.1.1',
    '8.8.8.8',
    '93.184.216.34',
    '172.32.0.1',
    '100.128.0.1',
    '2606:4700::1',
    '64:ff9b::8.8.8.8',
  ];

  it.each(INSIDE)('%s is not public', (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });

  it.each(PUBLIC)('%s is public', (address) => {
    expect(isPublicAddress(address)).toBe(true);
  });

  it('have one spelling each', () => {
    expect(canonical('2606:4700:0:0:0:0:0:1')).toBe('2606:4700::1');
    expect(canonical('::ffff:127.0.0.1')).toBe('::ffff:7f00:1');
    expect(canonical('fe80::1%lo')).toBe('fe80::1');
    expect(ownAddresses().has('127.0.0.1')).toBe(true);
  });
});

describe('URLs that are other than they look', () => {
  /** What the one parse makes of it: [text, host, port]. */
  const PARSED: readonly (readonly [string, string, number])[] = [
    ['http://127.1/', '127.0.0.1', 80],
    ['http://0x7f.1', '127.0.0.1', 80],
    ['http://2130706433', '127.0.0.1', 80],
    ['http://0177.0.0.1', '127.0.0.1', 80],
    ['http://①②⑦.0.0.1', '127.0.0.1', 80],
    ['http://127.0.0.1.', '127.0.0.1', 80],
    ['http://0', '0.0.0.0', 80],
    ['http://[::]', '::', 80],
    ['http://[::1]:8080', '::1', 8080],
    ['http://[::ffff:127.0.0.1]', '::ffff:7f00:1', 80],
    ['http://[0:0:0:0:0:ffff:7f00:1]', '::ffff:7f00:1', 80],
    ['https://EXAMPLE.org', 'example.org', 443],
    ['http://example.org.', 'example.org.', 80],
    ['http://ok.example#@evil.example/', 'ok.example', 80],
    ['http://ok.example?@evil.example/', 'ok.example', 80],
    ['http://evil.example\\@ok.example/', 'evil.example', 80],
    ['http:\\\\evil.example', 'evil.example', 80],
    ['http:evil.example', 'evil.example', 80],
    ['http://e\tvil.exa\nmple/', 'evil.example', 80],
    ['  http://example.org  ', 'example.org', 80],
    ['http://bücher.example', 'xn--bcher-kva.example', 80],
    ['http://ok.example%2eevil.example', 'ok.example.evil.example', 80],
    ['http://example.org:80', 'example.org', 80],
    ['https://example.org:80', 'example.org', 80],
    ['http://@example.org', 'example.org', 80],
  ];

  it.each(PARSED)('%s', (text, host, port) => {
    const url = parseTarget(text);
    expect([hostOf(url), portOf(url), url.hash]).toEqual([host, port, '']);
  });

  it.each([
    '',
    'example.org',
    '//example.org',
    'http://',
    'http://[fe80::1%25lo]/',
    'http://256.1',
    'http://1.2.3.4:65536',
    'http://127.0.0.1%00.example',
    'http://exa mple.org',
  ])('%j makes no sense', (text) => {
    expect(() => parseTarget(text)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });

  it.each([
    'file:///etc/passwd',
    'ftp://example.org',
    'gopher://example.org:70/_x',
    'data:text/plain,x',
    'javascript:1',
    'ws://example.org',
    'blob:http://example.org/1',
    'view-source:http://example.org',
    'unix:/run/docker.sock',
    'http://ok.example@evil.example',
    'http://ok.example:x@evil.example',
    'http://:x@evil.example',
    'http://example.org:22',
    'http://example.org:25',
    'http://example.org:6667',
  ])('%s is refused whoever asks', (text) => {
    expect(() => parseTarget(text)).toThrow(
      expect.objectContaining({ code: 'FORBIDDEN', message: expect.stringContaining('Permission denied') }),
    );
  });

  it.each([
    'http://127.1/',
    'http://0x7f.1',
    'http://2130706433',
    'http://0177.0.0.1',
    'http://0',
    'http://[::]',
    'http://[::1]',
    'http://[::ffff:7f00:1]',
    'http://100.64.1.1',
    'http://169.254.169.254/latest/meta-data',
    'http://metadata.google.internal',
    'http://localhost',
    'http://localhost.',
    'http://LOCALHOST:8080',
    'http://a.localhost',
    'http://printer.local',
    'http://router.home.arpa',
  ])('%s is not resolved to anything without a grant', async (text) => {
    await expect(noHosts.resolve(ANN, parseTarget(text), false)).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: expect.stringContaining('not a public address'),
    });
  });

  it('whatever a text looks like, the host that is judged is the host that is asked, twice over', () => {
    const odd = fc.constantFrom(
      ...[
        'http',
        'https:',
        '://',
        ':',
        '//',
        '/',
        '\\',
        '@',
        '#',
        '?',
        '%2e',
        '%40',
        '%00',
        '.',
        '..',
        '\t',
        '\n',
        ' ',
      ],
      ...[
        'ok.example',
        'evil.example',
        '127.0.0.1',
        '0x7f',
        '[::1]',
        '[',
        ']',
        ':80',
        ':8080',
        'ü',
        '。',
        '①',
        'xn--',
        '\u00ad',
      ],
    );
    fc.assert(
      fc.property(fc.array(odd, { maxLength: 8 }), (parts) => {
        const text = `http://${parts.join('')}`;
        let url: URL;
        try {
          url = parseTarget(text);
        } catch {
          return;
        }
        const judged = httpRefusal(text, 'GET', [['ok.example', 'ok.example:*']], null);
        expect(judged.url?.host).toBe(url.host);
        expect(parseTarget(url.href).href).toBe(url.href);
        if (judged.refusal === null) expect(hostOf(url).replace(/\.$/, '')).toBe('ok.example');
        expect(url.username + url.password + url.hash).toBe('');
      }),
      { numRuns: 200 },
    );
  });

  it('methods are in capitals; those of proxies and echoes are refused', () => {
    expect(parseMethod('post')).toBe('POST');
    expect(parseMethod('Propfind')).toBe('PROPFIND');
    for (const method of ['CONNECT', 'connect', 'TRACE', 'track']) {
      expect(() => parseMethod(method)).toThrow(
        expect.objectContaining({ code: 'FORBIDDEN', message: 'Permission denied: HTTP method not allowed' }),
      );
    }
    for (const method of ['', 'GET /', 'GET\r\nX: y', 'Ä', 'poﬆ', 'x'.repeat(33)]) {
      expect(() => parseMethod(method)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
    }
  });
});

describe('names', () => {
  const resolving = (...addresses: string[]) =>
    new Resolver(
      async () => addresses,
      () => new Set(['203.0.114.5']),
    );
  const url = parseTarget('http://example.org/');

  it('give all their addresses, or none when one of them is inside', async () => {
    expect(await resolving('1.1.1.1', '2606:4700::1', '1.1.1.1').resolve(ANN, url, false)).toEqual([
      '1.1.1.1',
      '2606:4700::1',
    ]);
    for (const inside of ['127.0.0.1', '::1', 'fe80::1%lo', '10.1.1.1', '203.0.114.5', 'nonsense']) {
      for (const answer of [[inside], ['1.1.1.1', inside], [inside, '1.1.1.1']]) {
        await expect(resolving(...answer).resolve(ANN, url, false)).rejects.toMatchObject({
          code: 'FORBIDDEN',
        });
      }
    }
  });

  it('may be inside where that is granted', async () => {
    expect(await resolving('127.0.0.1', '10.1.1.1').resolve(ANN, url, true)).toEqual([
      '127.0.0.1',
      '10.1.1.1',
    ]);
    expect(await noHosts.resolve(ANN, parseTarget('http://[::1]/'), true)).toEqual(['::1']);
  });

  it('the refusal does not tell which address it was', async () => {
    const error = await resolving('10.20.30.40')
      .resolve(ANN, url, false)
      .catch((each: Error) => each);
    expect((error as Error).message).not.toContain('10.20.30.40');
  });

  it('that have no address, or cannot be looked up, are errors that say so', async () => {
    await expect(resolving().resolve(ANN, url, false)).rejects.toMatchObject({ code: 'IO' });
    const failing = new Resolver(async () => {
      throw Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' });
    });
    await expect(failing.resolve(ANN, url, false)).rejects.toMatchObject({
      code: 'IO',
      message: 'Failed to execute HTTP request: ENOTFOUND for example.org',
    });
  });

  it('that hang keep their place, and only so many of a caller may', async () => {
    const pending: PromiseWithResolvers<string[]>[] = [];
    const hanging = new Resolver(() => {
      const next = Promise.withResolvers<string[]>();
      pending.push(next);
      return next.promise;
    });
    const waiting = Array.from({ length: 8 }, () => hanging.resolve(ANN, url, false));
    await expect(hanging.resolve(ANN, url, false)).rejects.toMatchObject({ code: 'OVERLOAD' });
    const other = hanging.resolve(ANN + 1, url, false);
    expect(hanging.pending).toBe(9);
    for (const each of pending) each.resolve(['1.1.1.1']);
    await Promise.all([...waiting, other]);
    expect(hanging.pending).toBe(0);
  });
});
