// Time never jumps while something is on its way between two members, and watching many threads takes few descriptors.
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ClockFixture, unifiedMount } from './testing.ts';

const PROGRAMS = path.join(import.meta.dirname, 'conformance');
const hasGroups = unifiedMount() !== null && process.geteuid?.() === 0;
let folder: string;
let calls: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-calls-'));
  calls = path.join(folder, 'calls');
  const source = path.join(PROGRAMS, 'calls.cc');
  execFileSync(process.env.CXX ?? 'g++', ['-std=c++20', '-O1', '-o', calls, source]);
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeEach((context) => {
  if (!hasGroups) context.skip('needs root and a version 2 control group hierarchy');
});

describe('calls between members', () => {
  it('never run out of time because of a jump', { timeout: 120_000 }, async () => {
    const fixture = new ClockFixture('skip');
    try {
      const server = fixture.start([calls]);
      await server.wrote('port');
      const port = /port (\d+)/.exec(server.output())?.[1] ?? '';
      const clients = await Promise.all([1, 2].map(() => fixture.run([calls, port, '2000'])));
      for (const { code, stdout, stderr } of clients)
        expect({ code, late: stdout.trim(), stderr }).toEqual({ code: 0, late: '0', stderr: '' });
      // Nearly every pause between two calls was skipped: a jump could have met one on its way thousands of times.
      expect(fixture.world.clock.status().jumps).toBeGreaterThan(1000);
      expect(fixture.world.clock.status().degradations).toEqual([]);
    } finally {
      await fixture.close();
    }
  });
});

describe('a kernel that may open few files', () => {
  it('watches many threads with a quarter of them', { timeout: 120_000 }, async () => {
    const files = 400;
    const script = path.join(PROGRAMS, 'descriptors-testing.ts');
    const child = spawn('prlimit', [`--nofile=${files}`, process.execPath, script, '300'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let stdout = '';
    child.stdout.on('data', (part: Buffer) => {
      stdout += String(part);
    });
    await new Promise((resolve) => child.on('close', resolve));
    const { code, watched, skippedMs, degradations } = JSON.parse(stdout);
    expect({ code, degradations }).toEqual({ code: 0, degradations: [] });
    expect(watched).toBeGreaterThan(0);
    // And the one that is open for the moment of a look.
    expect(watched).toBeLessThanOrEqual(files / 4 + 1);
    expect(skippedMs).toBeGreaterThan(3_500_000);
  });
});

describe('a machine whose /proc/loadavg does not tell of births', () => {
  it('passes over the work of no new thread', { timeout: 120_000 }, async () => {
    const still = path.join(folder, 'loadavg');
    writeFileSync(still, '0.00 0.00 0.00 1/100 4242\n');
    const script = path.join(PROGRAMS, 'births-testing.ts');
    // Mounted for the child alone.
    const inNamespace = ['--mount', '--propagation', 'private', 'sh', '-c'];
    const mounted = 'mount --bind "$0" /proc/loadavg && exec "$@"';
    const { stdout } = await promisify(execFile)('unshare', [
      ...inNamespace,
      mounted,
      still,
      process.execPath,
      script,
    ]);
    const { code, stderr, longestS, skippedMs } = JSON.parse(stdout);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    // Else it would be the hour that another thread sleeps meanwhile.
    expect(longestS).toBeLessThan(1800);
    expect(skippedMs).toBeGreaterThan(20 * 3_600_000);
  });
});
