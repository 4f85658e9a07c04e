import { execFile } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { shouldPass } from './json-oracle.ts';

/**
 * The native code of the wire, compiled with sanitizers and driven by seeded random input. `CLOVE_FUZZ_SEED` repeats a
 * run, `CLOVE_FUZZ_SECONDS` makes each program run longer.
 */
const run = promisify(execFile);
const SEED = process.env.CLOVE_FUZZ_SEED ?? String(Date.now());
const SECONDS = process.env.CLOVE_FUZZ_SECONDS ?? '4';
vi.setConfig({ testTimeout: Number(SECONDS) * 1000 + 120_000 });
const COMPILER = process.env.CXX ?? 'g++';
const ADDON = path.join(import.meta.dirname, '..', 'addon');
const FLAGS = ['-std=c++20', '-O1', '-g', '-fno-exceptions', '-Wall', '-Wextra', '-Werror'];
const ADDRESS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
/** All of the wire server but its face towards Node. */
const PARTS = globSync('{wire_*,urgent}.cc', { cwd: ADDON }).map((file) => path.basename(file, '.cc'));

const sourceOf = (part: string): string => path.join(ADDON, `${part}.cc`);
const programSource = (name: string): string => path.join(import.meta.dirname, `${name}.cc`);

let folder: string;
let missing: string | null = null;

const built = (name: string): string => path.join(folder, name);
const compile = (...args: string[]): Promise<unknown> => run(COMPILER, [...FLAGS, ...args]);

async function buildGuided(): Promise<void> {
  const coverage = built('coverage.o');
  await compile(...ADDRESS, '-c', programSource('coverage'), '-o', coverage);
  const objects = PARTS.map((part) => built(`${part}.o`));
  for (const part of PARTS) {
    await compile(...ADDRESS, '-fsanitize-coverage=trace-pc', '-c', sourceOf(part), '-o', built(`${part}.o`));
  }
  for (const program of ['guard_fuzz', 'connection_fuzz']) {
    await compile(...ADDRESS, programSource(program), coverage, ...objects, '-o', built(program));
  }
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-fuzz-'));
  try {
    await run(COMPILER, ['--version']);
  } catch {
    missing = `no C++ compiler (${COMPILER})`;
    return;
  }
  const sources = PARTS.map(sourceOf);
  await Promise.all([
    buildGuided(),
    compile('-fsanitize=thread', programSource('wire_stress'), ...sources, '-o', built('stress_thread')),
    compile(...ADDRESS, programSource('wire_stress'), ...sources, '-o', built('stress_address')),
  ]);
  console.log(`CLOVE_FUZZ_SEED=${SEED} CLOVE_FUZZ_SECONDS=${SECONDS}`);
}, 300_000);

afterAll(() => rmSync(folder, { recursive: true }));

/** The entries that guard_fuzz kept: u32 length | u8 accepted | bytes. */
function* corpusOf(file: string): Generator<{ input: Buffer; accepted: boolean }> {
  const bytes = readFileSync(file);
  for (let at = 0; at < bytes.length; ) {
    const size = bytes.readUInt32LE(at);
    yield { accepted: bytes[at + 4] === 1, input: bytes.subarray(at + 5, at + 5 + size) };
    at += 5 + size;
  }
}

describe('under the address and undefined-behaviour sanitizers', () => {
  it('the JSON guard keeps its rules, and agrees with JSON.parse on all inputs that reached something new', async (ctx) => {
    if (missing !== null) ctx.skip(missing);
    const corpus = built('corpus');
    const { stdout } = await run(built('guard_fuzz'), [SEED, SECONDS, corpus]);
    expect(stdout).toMatch(/^\d+ runs/);
    let accepted = 0;
    let count = 0;
    for (const entry of corpusOf(corpus)) {
      count += 1;
      if (entry.accepted) accepted += 1;
      expect({ ...entry, accepted: shouldPass(entry.input) }).toEqual(entry);
    }
    expect(accepted).toBeGreaterThan(20);
    expect(count - accepted).toBeGreaterThan(20);
  });

  it('a connection gives what a plain reading of its bytes gives, however they are cut and answered', async (ctx) => {
    if (missing !== null) ctx.skip(missing);
    const { stdout } = await run(built('connection_fuzz'), [SEED, SECONDS]);
    expect(stdout).toMatch(/^\d+ runs/);
  });

  it('the whole server stands everything at once', async (ctx) => {
    if (missing !== null) ctx.skip(missing);
    mkdirSync(built('address'));
    const { stdout } = await run(built('stress_address'), [built('address'), SEED, SECONDS]);
    expect(stdout).toMatch(/^\d+ answers in order/);
  });
});

describe('under the thread sanitizer', () => {
  it('the whole server has no data race', async (ctx) => {
    if (missing !== null) ctx.skip(missing);
    mkdirSync(built('thread'));
    const result = await run(built('stress_thread'), [built('thread'), SEED, SECONDS]).catch(
      (error) => error,
    );
    if (String(result.stderr).includes('unexpected memory mapping')) {
      ctx.skip('the thread sanitizer cannot place its memory on this kernel');
    }
    expect(result.stderr).toBe('');
    expect(result.stdout).toMatch(/^\d+ answers in order/);
  });
});
