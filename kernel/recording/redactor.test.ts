import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REDACTED, Redactor } from './redactor.ts';
import { SecretNames } from './secret-names.ts';

describe('names of secrets', () => {
  const names = new SecretNames(['x-internal-*', 'pin']);
  it.each([
    'password',
    'PGPASSWORD',
    'db_password',
    'OPENAI_API_KEY',
    'apiKey',
    'X-Api-Key',
    'GITHUB_TOKEN',
    'accessToken',
    'Authorization',
    'Proxy-Authorization',
    'Set-Cookie',
    'client_secret',
    'SECRET_KEY_BASE',
    'aws_secret_access_key',
    'PRIVATE_KEY',
    'credentials',
    'x-internal-id',
    'PIN',
  ])('%s is one', (name) => expect(names.has(name)).toBe(true));
  it.each([
    'key',
    'keys',
    'max_tokens',
    'tokens',
    'token_count',
    'author',
    'success',
    'monkey',
    'path',
    'keyboard',
    'internal-id',
    'spin',
    '',
  ])('%s is none', (name) => expect(names.has(name)).toBe(false));
});

describe('a redactor', () => {
  const redact = (text: string) => new Redactor().redact(text).text;

  it.each<[string, string, string]>([
    ['a member', '{"password":"hunter2x"}', '{"password":"[redacted]"}'],
    ['a nested member', '{"a":[{"apiKey":"k-1"}],"b":1}', '{"a":[{"apiKey":"[redacted]"}],"b":1}'],
    ['a whole object', '{"credentials":{"user":"u","key":"k"}}', '{"credentials":"[redacted]"}'],
    [
      'a value by the key it is stored under',
      '{"key":"api_token","value":"v"}',
      '{"key":"api_token","value":"[redacted]"}',
    ],
    [
      'a header of a list',
      '{"headers":[{"name":"Authorization","value":"x"}]}',
      '{"headers":[{"name":"Authorization","value":"[redacted]"}]}',
    ],
    [
      'JSON in JSON',
      JSON.stringify({ body: JSON.stringify({ token: 'abc' }) }),
      JSON.stringify({ body: JSON.stringify({ token: REDACTED }) }),
    ],
    [
      'a header in a command',
      JSON.stringify({ command: 'curl -H "Authorization: Bearer abc" x' }),
      JSON.stringify({ command: `curl -H "Authorization: ${REDACTED}" x` }),
    ],
    [
      'a variable in a command',
      '{"command":"PGPASSWORD=abcd psql"}',
      '{"command":"PGPASSWORD=[redacted] psql"}',
    ],
    [
      'a password in a URL',
      '{"url":"https://me:pw@example.org/x"}',
      '{"url":"https://[redacted]@example.org/x"}',
    ],
    ['a known shape', '{"m":"use ghp_0123456789abcdefghijABCDEFGHIJ now"}', '{"m":"use [redacted] now"}'],
    [
      'an option of argv',
      '{"argv":["x","--api-key","abc","y"]}',
      '{"argv":["x","--api-key","[redacted]","y"]}',
    ],
    [
      'an option of a command',
      '{"command":"x --db-password hunter2 -v"}',
      '{"command":"x --db-password [redacted] -v"}',
    ],
    [
      'a variable of any name',
      '1_DB_PASSWORD=abcdef --secret=xyz',
      '1_DB_PASSWORD=[redacted] --secret=[redacted]',
    ],
    ['text that is not JSON', 'token=abcdef&x=1', 'token=[redacted]&x=1'],
  ])('takes out %s', (_what, text, expected) => expect(redact(text)).toBe(expected));

  it.each([
    '{"a": 1,  "b": "plain"}',
    '{"tokens":5,"max_tokens":100,"success":true}',
    '{"password":null,"token":"","secret":false}',
    'no JSON, no secret',
    '{"url":"http://example.org:8080/a@b"}',
  ])('leaves %s as it was written', (text) =>
    expect(new Redactor().redact(text)).toEqual({ text, base: text, count: 0 }),
  );

  it('finds a learned secret wherever it turns up, in the shapes JSON and URLs give it', () => {
    const redactor = new Redactor();
    const secret = 'p"ss wörd/€';
    redactor.learn(secret);
    const text = JSON.stringify({
      a: `x${secret}y`,
      b: encodeURIComponent(secret),
      c: JSON.stringify([secret]),
    });
    const redacted = redactor.redact(text).text;
    expect(redacted).not.toContain('rd/');
    expect(redacted).not.toContain(encodeURIComponent(secret));
    expect(JSON.parse(redacted).a).toBe(`x${REDACTED}y`);
  });

  it('learns the values of secret variables, and of no others', () => {
    const redactor = new Redactor();
    redactor.learnEnvironment({ API_KEY: 'abc-123-xyz', HOME: '/work/home' });
    expect(redactor.redact('{"said":"abc-123-xyz in /work/home"}').text).toBe(
      `{"said":"${REDACTED} in /work/home"}`,
    );
  });

  it('takes the value out of an answer whose request asked for a secret', () => {
    const redactor = new Redactor();
    const answer = '{"exists":true,"value":"plain-looking"}';
    expect(redactor.redact(answer, { key: 'db_password' }).text).toBe('{"exists":true,"value":"[redacted]"}');
    expect(redactor.redact(answer, { key: 'name' }).text).toBe(answer);
  });

  it('takes a key that was seen under a secret name out of everything after it, but nothing else', () => {
    const redactor = new Redactor();
    redactor.redact(
      '{"password":"key-0123456789ab","token":"rm -rf /some/where","secret":"evil.example.org"}',
    );
    const text = '{"a":"key-0123456789ab","b":"rm -rf /some/where","c":"evil.example.org"}';
    const { text: redacted, base } = redactor.redact(text);
    expect(redacted).toBe('{"a":"[redacted]","b":"rm -rf /some/where","c":"evil.example.org"}');
    // A replay, which may not have seen it yet, finds the call by this.
    expect(base).toBe(text);
  });

  it('does the same when done twice, and always leaves JSON to be JSON', () => {
    const redactor = new Redactor();
    redactor.learn('secret-of-the-operator');
    const piece = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.constantFrom(
        'password=abcdef',
        'Authorization: Bearer abc123456',
        'x --token abcdef --password="a b"',
        'secret-of-the-operator',
        '"token": "abc"',
        'https://a:b@c/',
        "pwd='x y z'",
      ),
    );
    const text = fc.array(piece, { maxLength: 4 }).map((pieces) => pieces.join(' '));
    const name = fc.constantFrom('password', 'key', 'value', 'a', '__proto__', 'path');
    const value = fc.letrec((tie) => ({
      node: fc.oneof(
        { depthSize: 'small' },
        text,
        fc.integer(),
        fc.boolean(),
        fc.array(tie('node'), { maxLength: 3 }),
        fc.dictionary(name, tie('node'), { maxKeys: 3 }),
        text.map((inner) => JSON.stringify({ inner })),
      ),
    })).node;
    fc.assert(
      fc.property(
        fc.oneof(
          value.map((each) => JSON.stringify(each)),
          text,
        ),
        (input) => {
          redactor.redact(input);
          const { text: once, base } = redactor.redact(input);
          expect(redactor.redact(once)).toMatchObject({ text: once, base: once });
          expect(redactor.redact(base).base).toBe(base);
          expect(once).not.toContain('secret-of-the-operator');
          if (isJson(input)) expect(isJson(once)).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('takes no longer for hostile text', () => {
    const hostile = [
      'a='.repeat(50_000),
      'https://'.repeat(20_000),
      '-----BEGIN PRIVATE KEY-----'.repeat(5000),
    ];
    for (const text of [...hostile, '"password":"'.repeat(20_000), 'eyJ'.repeat(50_000)]) {
      expect(typeof redact(text)).toBe('string');
    }
  });
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
