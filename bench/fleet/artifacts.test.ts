import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Artifact, type ArtifactLimits, holdFolder, takeArtifact } from './artifacts.ts';
import { canaryFinder, newCanary } from './canary.ts';

let scratch: string;
let work: string;
let count = 0;

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'clove-artifact-'));
  work = join(scratch, 'work');
  mkdirSync(join(work, 'deep'), { recursive: true });
  writeFileSync(join(work, 'a.txt'), 'a');
  writeFileSync(join(work, 'deep', 'run'), '#!/bin/sh\n');
  chmodSync(join(work, 'deep', 'run'), 0o4755);
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

function take(limits?: ArtifactLimits): Artifact {
  const fd = openSync(work, 'r');
  try {
    return takeArtifact({ fd, close: () => {} }, join(scratch, `taken-${++count}`), limits);
  } finally {
    closeSync(fd);
  }
}

function refusal(limits?: ArtifactLimits): string {
  try {
    take(limits);
    return 'taken';
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return `${code}: ${message}`;
  }
}

describe('the work of an agent', () => {
  it('is copied so that nobody can write to it, under the name of its hash', () => {
    const taken = take();
    expect(taken.files.map(({ path, bytes, isExecutable }) => [path, bytes, isExecutable])).toEqual([
      ['a.txt', 1, false],
      ['deep/run', 10, true],
    ]);
    expect(taken.folder.endsWith(taken.sha256)).toBe(true);
    expect(readFileSync(join(taken.folder, 'a.txt'), 'utf8')).toBe('a');
    expect(statSync(join(taken.folder, 'deep', 'run')).mode & 0o7777).toBe(0o555);
    expect(statSync(join(taken.folder, 'deep')).mode & 0o777).toBe(0o555);
  });

  it('has a hash of what is in it, not of when it was written', () => {
    const before = take().sha256;
    utimesSync(join(work, 'a.txt'), 1, 1);
    expect(take().sha256).toBe(before);
    writeFileSync(join(work, 'a.txt'), 'b');
    const other = take().sha256;
    expect(other).not.toBe(before);
    chmodSync(join(work, 'a.txt'), 0o755);
    expect(take().sha256).not.toBe(other);
  });

  it.each([
    ['a link out', () => symlinkSync('/etc/passwd', join(work, 'x')), /"x" is a symbolic link/],
    ['a link within', () => symlinkSync('a.txt', join(work, 'x')), /symbolic link/],
    ['a link in place of a folder', () => symlinkSync('/etc', join(work, 'deep', 'x')), /"deep\/x" is a sym/],
    ['a FIFO', () => execFileSync('mkfifo', [join(work, 'x')]), /no regular file/],
    ['a file with a hole', () => holed(), /larger than 16777216 bytes/],
    [
      'a name that is no text',
      () => writeFileSync(Buffer.concat([Buffer.from(`${work}/`), Buffer.from([0xff])]), ''),
      /not UTF-8/,
    ],
    ['a deep folder', () => mkdirSync(join(work, '1/'.repeat(20)), { recursive: true }), /deeper than 16/],
  ])('is refused with all of it for %s', (_what, make, message) => {
    make();
    expect(refusal()).toMatch(/^PATH_REFUSED/);
    expect(refusal()).toMatch(message);
  });

  it('is refused when there is more of it than was agreed', () => {
    expect(refusal({ maxEntries: 2 })).toMatch(/more than 2 files and folders/);
    expect(refusal({ maxBytes: 10 })).toMatch(/larger than 10 bytes/);
    expect(refusal({ maxBytes: 11, maxEntries: 3, maxDepth: 1 })).toBe('taken');
  });

  it('is never looked for in the files of the host', () => {
    expect(() => holdFolder(process.pid, '/etc')).toThrow(/had ended/);
    expect(() => holdFolder(2 ** 30, '/etc')).toThrow(/had ended/);
  });
});

function holed(): void {
  const path = join(work, 'x');
  writeFileSync(path, '');
  truncateSync(path, 2 ** 40);
}

describe('a canary', () => {
  const canary = newCanary();
  const isIn = canaryFinder(canary);

  it('is found in whatever common form, wherever it stands', () => {
    const { secret, host } = canary;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ maxLength: 40 }), (before, after) => {
        const around = (part: string | Buffer) => Buffer.concat([before, Buffer.from(part), after]);
        for (const part of [secret, host, Buffer.from(secret, 'hex')]) {
          expect(isIn(around(part).toString('base64'))).toBe(true);
          expect(isIn(around(part).toString('base64url'))).toBe(true);
        }
        for (const part of [secret, host, secret.toUpperCase(), [...secret].reverse().join('')])
          expect(isIn(around(part))).toBe(true);
        expect(isIn(around(secret).toString('hex'))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it('is not found where it is not', () => {
    expect(isIn(newCanary().secret)).toBe(false);
    expect(isIn('answers.invalid')).toBe(false);
    expect(isIn(Buffer.alloc(1000))).toBe(false);
  });
});
