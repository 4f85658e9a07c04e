import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonicalJson } from '../../kernel/audit/canonical.ts';
import { firstHash } from '../../kernel/audit/chains.ts';
import { tamper } from '../../kernel/audit/testing.ts';
import { callingAgent, type TestClient, TestKernel } from '../../kernel/fixture.ts';

const CLOVE = path.join(import.meta.dirname, '..', '..', 'bin', 'clove');

let kernel: TestKernel;
let client: TestClient;
let dataFolder: string;
beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
  dataFolder = path.join(kernel.folder, 'data');
  for (let at = 0; at < 5; at += 1) await client.call('KILL', { name: `=cmd("${at}")\u001b[31m` });
  await client.run({ name: 'nosy', ...callingAgent([['LIST', {}]]) });
});
afterAll(() => kernel.close());

const environment = () => ({ PATH: process.env.PATH, HOME: kernel.folder, NO_COLOR: '1' });
async function clove(...args: string[]): Promise<{ stdout: string; stderr: string; status: number }> {
  try {
    const options = { env: environment(), cwd: kernel.folder, maxBuffer: 2 ** 26 };
    return { ...(await promisify(execFile)(CLOVE, args, options)), status: 0 };
  } catch (error) {
    const { stdout, stderr, code } = error as { stdout: string; stderr: string; code: number };
    return { stdout, stderr, status: code };
  }
}
const live = () => ['--socket', kernel.running.socketPath];
const offline = () => ['--data-dir', dataFolder];

describe('clove audit', () => {
  it('shows records with what agents wrote escaped, of a running kernel and of its files alike', async () => {
    const asked = await clove('audit', 'query', '--syscall', 'kill', ...live());
    expect(asked).toMatchObject({ status: 0, stderr: '' });
    const lines = asked.stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(5);
    expect(lines[0]).toContain('allowed KILL =cmd("0")\\x1b[31m by operator  NOT_FOUND');
    expect((await clove('audit', 'query', '--syscall', 'kill', ...offline())).stdout).toBe(asked.stdout);
    const denied = await clove('audit', 'query', '--denied', ...live());
    expect(denied.stdout).toMatch(/SECURITY {2}agent \d+ \(nosy\) {2}DENIED LIST .*FORBIDDEN\n$/);
    const tail = await clove('audit', 'tail', '-n', '1', '--category', 'security', '--json', ...offline());
    expect(JSON.parse(tail.stdout).body).toMatchObject({ event_type: 'PERMISSION_DENIED', syscall: 'LIST' });
  });

  it('follows', async () => {
    const child = spawn(CLOVE, ['audit', 'tail', '-n', '1', '-f', '--json', ...live()], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    expect((await lines.next()).value).toContain('"event_type"');
    await client.call('KILL', { name: 'just-now' });
    expect((await lines.next()).value).toContain('"object":"just-now"');
    child.kill('SIGINT');
    expect(await exited).toEqual([0, null]);
  });

  it('exports lines that hold all that the hashes are made of', async () => {
    const file = path.join(kernel.folder, 'audit.jsonl');
    expect(await clove('audit', 'export', '-o', file, ...live())).toMatchObject({ status: 0 });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const text = readFileSync(file, 'utf8');
    expect(text).toMatch(/^[\x20-\x7e\n]*$/);
    const entries = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, at) => at + 1));
    const [genesis] = entries;
    const heads = new Map<string, string>();
    for (const {
      chain,
      chain_number: number,
      chain_seq,
      seq,
      agent_id,
      body,
      previous_hash,
      hash,
    } of entries) {
      expect(previous_hash).toBe(heads.get(chain) ?? firstHash(genesis.body.details.log_id, number));
      const content = `${previous_hash}\n${seq}\n${number}\n${chain_seq}\n${agent_id}\n${canonicalJson(body)}`;
      expect(createHash('sha256').update(content).digest('hex')).toBe(hash);
      heads.set(chain, hash);
    }
    const again = await clove('audit', 'export', '-o', file, ...live());
    expect(again).toMatchObject({ status: 1 });
    expect(again.stderr).toContain('EEXIST');
  });

  it('verifies an export by itself: whole, and one in which a line was edited, deleted, added or moved', async () => {
    const file = path.join(kernel.folder, 'verify.jsonl');
    await clove('audit', 'export', '-o', file, ...offline());
    const verify = () => clove('audit', 'verify', '--file', file);
    expect((await verify()).stdout).toMatch(/^whole: \d+ records .* without an anchor/);
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    // Which of two calls of different clients comes first is chance.
    const at = lines.findIndex((line) => line.includes('"NOT_FOUND"'));
    expect(at).toBeGreaterThan(0);
    expect(at).toBeLessThan(lines.length - 1);
    const [line, next] = [lines[at] as string, lines[at + 1] as string];
    const tampered = {
      edited: lines.with(at, line.replace('NOT_FOUND', 'OK')),
      deleted: lines.toSpliced(at, 1),
      moved: lines.with(at, next).with(at + 1, line),
      doubled: lines.toSpliced(at, 0, line),
      garbage: lines.with(at, '{}'),
    };
    const found = new RegExp(`^NOT whole, first bad record: (${at + 1}|${at + 2})\n`);
    for (const [how, changed] of Object.entries(tampered)) {
      writeFileSync(file, `${changed.join('\n')}\n`);
      const report = await verify();
      expect(report, how).toMatchObject({
        status: 1,
        stdout: expect.stringMatching(found),
      });
    }
    rmSync(file);
    expect((await verify()).stderr).toContain('[DATA_MISSING]');
  });

  it('exports tables that no spreadsheet takes for formulas', async () => {
    const { stdout, status } = await clove(
      'audit',
      'export',
      '--format',
      'csv',
      '--syscall',
      'KILL',
      ...offline(),
    );
    expect(status).toBe(0);
    const [header, first] = stdout.split('\n');
    expect(header).toMatch(/^seq,time,world_time,category,event_type,/);
    expect(first).toContain(`,"'=cmd(""0"")\\x1b[31m",`);
  });

  it('verifies, and leaves with 1 and the first bad record when the log is not whole', async () => {
    expect(await clove('audit', 'verify', ...live())).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^whole: \d+ records up to \d+, 0 dropped by retention, anchored at \d+/),
    });
    expect(await clove('audit', 'verify', ...offline())).toMatchObject({ status: 0 });
    const anchor = path.join(kernel.folder, 'anchor');
    expect((await clove('audit', 'verify', ...offline(), '--anchor', anchor)).stdout).toContain(
      'the anchor is missing',
    );
    copyFileSync(path.join(dataFolder, 'audit.anchor'), anchor);
    expect(await clove('audit', 'verify', ...offline(), '--anchor', anchor)).toMatchObject({ status: 0 });
    tamper(dataFolder, (database) => database.exec('DELETE FROM audit_records WHERE seq = 4'));
    for (const where of [live(), offline()]) {
      const broken = await clove('audit', 'verify', ...where);
      expect(broken).toMatchObject({ status: 1, stderr: '' });
      expect(broken.stdout).toMatch(/^NOT whole, first bad record: 4\n {2}missing: /);
    }
    expect(JSON.parse((await clove('audit', 'verify', '--json', ...offline())).stdout)).toMatchObject({
      ok: false,
      first_bad_seq: 4,
    });
  });

  it('says what makes no sense', async () => {
    for (const args of [
      ['query', '--category', 'EVERYTHING'],
      ['query', '--since', 'yesterday-ish'],
      ['query', '--agent', 'nosy'],
      ['tail', '-n', '-1'],
      ['query', '--denied', '--allowed'],
    ]) {
      expect((await clove('audit', ...args, ...offline())).status, args.join(' ')).toBe(2);
    }
    const nowhere = await clove('audit', 'verify', '--data-dir', path.join(kernel.folder, 'nowhere'));
    expect(nowhere.status).toBe(1);
    expect(nowhere.stderr).toContain('[DATA_MISSING]');
  });
});
