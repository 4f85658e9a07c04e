import { describe, expect, it } from 'vitest';
import { AGENT_HOME, levelGrants } from './levels.ts';
import { pathRefusal } from './path-rules.ts';
import { grantsOf, policyRequest } from './policy.ts';

const standard = levelGrants('standard', AGENT_HOME).paths;
const sandboxed = levelGrants('sandboxed', AGENT_HOME).paths;

describe('what every bounded level blocks', () => {
  it.each([
    '/etc/passwd',
    '/etc/shadow',
    '/etc/passwd-',
    '/.env',
    '/a/.env',
    '/a/very/deep/place/.env',
    '/srv/app/.git/config',
    '/srv/credentials.json',
    '/srv/Credentials.JSON',
    '/srv/secrets/deep/key.pem',
    '/work/api_token.txt',
    '/work/PASSWORDS',
    '/work/.ssh/id_ed25519',
    '/work/.aws/config',
    '/proc/self/environ',
    '/proc/1/mem',
    '/run/docker.sock',
    '/root/notes',
  ])('%s', (file) => {
    expect(pathRefusal(file, 'read', standard.read, standard.blocked)).toMatch(/^path\.blocked:/);
  });

  it.each([
    '/work/a.txt',
    '/etc/hosts',
    '/work/x.env',
    '/work/my-credentials',
    '/work/.environment',
    '/work/.git/HEAD',
  ])('and not %s', (file) => {
    expect(pathRefusal(file, 'write', standard.write, standard.blocked)).toBeNull();
  });

  it.each([
    '/work/x/../.env',
    '/work/./.env',
    '/work//.env',
    '/none/../etc/shadow',
    '/work/.env/',
    '/../../etc/passwd',
  ])('also as %s', (file) => {
    expect(pathRefusal(file, 'write', standard.write, standard.blocked)).toMatch(/^path\.blocked:/);
  });

  it('in any form of its accents', () => {
    const blocked = ['*/geheimtür'];
    expect(pathRefusal('/a/geheimtür'.normalize('NFD'), 'read', [], blocked)).toBe(
      'path.blocked:*/geheimtür',
    );
    expect(pathRefusal('/a/geheimtür'.normalize('NFC'), 'read', [], blocked)).toBe(
      'path.blocked:*/geheimtür',
    );
    expect(pathRefusal('/a/geheimtur', 'read', [], blocked)).toBeNull();
  });
});

describe('what a level allows', () => {
  it.each([
    ['/tmp/a', true],
    ['/tmp/deep/er/.a', true],
    ['/tmp/../etc/hosts', false],
    ['/tmpx/a', false],
    ['/work/data/a', true],
    ['/home/me/a', true],
    ['/etc/hosts', false],
    ['/tmp/.env', false],
  ])('sandboxed reads %s: %s', (file, isAllowed) => {
    expect(pathRefusal(file, 'read', sandboxed.read, sandboxed.blocked) === null).toBe(isAllowed);
  });

  it('is spelled exactly', () => {
    expect(pathRefusal('/TMP/a', 'read', sandboxed.read, sandboxed.blocked)).toBe('path.not-granted:read');
    expect(pathRefusal('/work/a', 'write', sandboxed.write, sandboxed.blocked)).toBe(
      'path.not-granted:write',
    );
  });

  it('is nothing that cannot be compared', () => {
    expect(pathRefusal('/tmp/\uFFFD', 'read', sandboxed.read, [])).toBe('path.not-text');
    expect(pathRefusal('/tmp/\ud800', 'read', sandboxed.read, [])).toBe('path.not-text');
    expect(pathRefusal('tmp/a', 'read', sandboxed.read, [])).toBe('path.not-absolute');
  });
});

describe('a custom object', () => {
  const parse = (filesystem: object, more: object = {}) =>
    grantsOf(policyRequest.parse({ filesystem, ...more }), AGENT_HOME).paths;

  it('keeps what is usually blocked, and may say otherwise in words', () => {
    const { read, blocked } = parse({ read: ['/work/**'] });
    expect(pathRefusal('/work/app/.env', 'read', read, blocked)).toBe('path.blocked:*/.env');
    expect(pathRefusal('/work/app/x', 'read', read, blocked)).toBeNull();
    const open = parse({ read: ['/work/**'] }, { default_blocked: false });
    expect(pathRefusal('/work/app/.env', 'read', open.read, open.blocked)).toBeNull();
  });

  it('means its home by ~, and only as a whole name', () => {
    const { read } = parse({ read: ['~/data/*'] });
    expect(pathRefusal('/work/data/x', 'read', read, [])).toBeNull();
    expect(pathRefusal('/work/data/x/y', 'read', read, [])).toBe('path.not-granted:read');
  });

  it.each(['data/*', './a', '/a/../b', '', '~root/x', '/a/./b', 'a\0b', '/\ud800'])(
    'refuses the pattern %j',
    (pattern) => {
      expect(policyRequest.safeParse({ filesystem: { read: [pattern] } }).success).toBe(false);
    },
  );

  it('stays small enough to be matched at every call', () => {
    expect(policyRequest.safeParse({ filesystem: { read: ['/x'.repeat(200)] } }).success).toBe(false);
    expect(policyRequest.safeParse({ filesystem: { read: Array(200).fill('/a') } }).success).toBe(false);
    expect(
      policyRequest.safeParse({ filesystem: { blocked: Array(100).fill(`/${'a'.repeat(60)}`) } }).success,
    ).toBe(false);
  });
});
