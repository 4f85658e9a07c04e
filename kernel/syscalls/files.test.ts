import { execFileSync } from 'node:child_process';
import { existsSync, linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, callingAgent, type TestClient, TestKernel } from '../fixture.ts';
import type { SyscallName } from '../protocol/opcodes.ts';

let kernel: TestKernel;
let client: TestClient;
let folder: string;
beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
  folder = path.join(kernel.folder, 'files');
  mkdirSync(folder);
});
afterAll(() => kernel.close());

const at = (name: string) => path.join(folder, name);

/** What an agent is answered to these calls. */
async function asAgent(...calls: (readonly [SyscallName, unknown])[]): Promise<Answer[]> {
  const exit = await client.run(callingAgent(calls));
  if (exit.stdout === '') throw new Error(exit.stderr);
  return JSON.parse(exit.stdout).map(({ answer }: { answer: Answer }) => answer);
}

describe('an operator', () => {
  it('writes, appends and reads files of the host', async () => {
    const file = at('a.txt');
    expect(await client.call('WRITE', { path: file, content: 'grüße\n' })).toEqual({
      bytes_written: 8,
      success: true,
    });
    expect(await client.call('WRITE', { path: file, content: 'x', mode: 'append' })).toMatchObject({
      bytes_written: 1,
    });
    expect(await client.call('READ', { path: file })).toEqual({
      content: 'grüße\nx',
      size: 9,
      success: true,
    });
    expect(await client.call('WRITE', { path: file, content: 'y', mode: 'whatever' })).toMatchObject({
      success: true,
    });
    expect(readFileSync(file, 'utf8')).toBe('y');
  });

  it('gets bytes that are not text as base64 and can write them so', async () => {
    writeFileSync(at('raw'), Uint8Array.of(0, 255, 10));
    expect(await client.call('READ', { path: at('raw') })).toMatchObject({
      content: 'AP8K',
      encoding: 'base64',
      size: 3,
    });
    await client.call('WRITE', { path: at('raw2'), content: 'AP8K', encoding: 'base64' });
    expect([...readFileSync(at('raw2'))]).toEqual([0, 255, 10]);
    // A real U+FFFD is text.
    writeFileSync(at('fffd'), '\uFFFD');
    expect(await client.call('READ', { path: at('fffd') })).toMatchObject({ content: '\uFFFD', size: 3 });
  });

  it('is never made to wait by a FIFO or fooled by a link', async () => {
    execFileSync('mkfifo', [at('fifo')]);
    symlinkSync('/etc/hostname', at('link'));
    for (const [name, request] of [
      ['READ', { path: at('fifo') }],
      ['READ', { path: at('link') }],
      ['READ', { path: '/dev/zero' }],
      ['READ', { path: folder }],
      ['WRITE', { path: at('fifo'), content: 'x' }],
      ['WRITE', { path: at('link'), content: 'x' }],
    ] as const) {
      expect(await client.call(name, request), JSON.stringify(request)).toMatchObject({
        success: false,
        code: 'PATH_REFUSED',
      });
    }
  });

  it('reads files whose size is not what stat says, and none that are too large', async () => {
    expect((await client.call('READ', { path: '/proc/self/status' })).content).toContain('Name:');
    execFileSync('truncate', ['-s', '1T', at('sparse')]);
    expect(await client.call('READ', { path: at('sparse') })).toMatchObject({
      success: false,
      code: 'PAYLOAD_TOO_LARGE',
      content: '',
      size: 0,
    });
  });

  it('is told what is missing in the words clients know', async () => {
    expect((await client.call('READ', { path: at('none') })).error).toMatch(/^failed to open file: /);
    expect(await client.call('WRITE', { path: at('no/dir'), content: '' })).toMatchObject({
      error: expect.stringMatching(/^failed to open file for writing: /),
      bytes_written: 0,
      code: 'NOT_FOUND',
    });
    expect(await client.call('WRITE', {})).toMatchObject({ error: 'path required', bytes_written: 0 });
    expect(await client.call('READ', { path: 'a\0b' })).toMatchObject({ code: 'BAD_REQUEST' });
  });
});

describe('an agent', () => {
  it('sees its own files only, relative ones from its working directory', async () => {
    writeFileSync('/tmp/clove-files-host', 'host');
    const [write, read, relative, host, shadow] = await asAgent(
      ['WRITE', { path: '/work/a', content: 'mine' }],
      ['READ', { path: '/work/a' }],
      ['READ', { path: 'a' }],
      ['READ', { path: '/tmp/clove-files-host' }],
      ['READ', { path: '/etc/shadow' }],
    );
    execFileSync('rm', ['/tmp/clove-files-host']);
    expect(write).toMatchObject({ success: true, bytes_written: 4 });
    expect(read).toMatchObject({ content: 'mine', size: 4 });
    expect(relative).toMatchObject({ content: 'mine' });
    expect(host).toMatchObject({ success: false, code: 'NOT_FOUND', content: '', size: 0 });
    expect(shadow.success).toBe(false);
    expect(existsSync('/work/a')).toBe(false);
  });

  it('cannot make the kernel follow a link, wait for a FIFO, or leave by dots', async () => {
    const answers = await asAgent(
      ['EXEC', { command: 'ln -s /etc/passwd /work/l; mkfifo /work/f; mkdir /work/d; ln -s / /work/d/root' }],
      ['READ', { path: '/work/l' }],
      ['WRITE', { path: '/work/l', content: 'x' }],
      ['READ', { path: '/work/f' }],
      ['READ', { path: '/work/../../../../../../proc/1/root/etc/shadow' }],
      ['READ', { path: '/proc/self/environ' }],
      ['WRITE', { path: '/usr/bin/x', content: '' }],
      ['WRITE', { path: '/proc/sys/kernel/core_pattern', content: '|/x' }],
    );
    expect(answers[0]).toMatchObject({ success: true });
    for (const answer of answers.slice(1, 5)) expect(answer).toMatchObject({ success: false });
    // Whatever a process of the sandbox may read is no secret of the kernel.
    expect(answers[5].content ?? '').not.toContain('HOME=/root');
    for (const answer of answers.slice(6)) expect(answer).toMatchObject({ success: false });
  });

  it('writes through a mount only where it may', async () => {
    const shared = at('shared');
    mkdirSync(shared);
    writeFileSync(path.join(shared, 'theirs'), 'theirs');
    linkSync(path.join(shared, 'theirs'), path.join(shared, 'linked'));
    const { stdout } = await client.run({
      ...callingAgent([
        ['READ', { path: '/s/theirs' }],
        ['WRITE', { path: '/s/theirs', content: 'x' }],
        ['WRITE', { path: '/s/linked', content: 'x' }],
      ]),
      mounts: [{ source: shared, target: '/s' }],
    });
    const [read, write, linked] = JSON.parse(stdout).map(({ answer }: { answer: Answer }) => answer);
    expect(read).toMatchObject({ content: 'theirs' });
    expect(write.success).toBe(false);
    expect(linked.success).toBe(false);
    expect(readFileSync(path.join(shared, 'theirs'), 'utf8')).toBe('theirs');
  });
});
