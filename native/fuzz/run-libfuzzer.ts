/**
 * The frame reader and the JSON guard of the wire under libFuzzer, with the address and undefined-behaviour sanitizers.
 * Needs clang with its runtime (Debian: clang-19 libclang-rt-19-dev).
 * Usage: node native/fuzz/run-libfuzzer.ts [seconds=60] [seed=0: another each time] [CXX=clang++-19]
 */
import { spawnSync } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const [seconds = '60', seed = '0', compiler = process.env.CXX ?? 'clang++-19'] = process.argv.slice(2);
const addon = path.join(import.meta.dirname, '..', 'addon');
/** All of the wire server but its face towards Node. */
const parts = globSync('{wire_*,urgent}.cc', { cwd: addon }).map((file) => path.join(addon, file));
/** Longest input: a few frames, and guard texts of the size that the kernel's clients send. */
const MAX_BYTES = 8192;

const folder = mkdtempSync(path.join(tmpdir(), 'clove-libfuzzer-'));
let failed = false;
try {
  for (const name of ['guard_fuzz', 'connection_fuzz']) failed = !fuzz(name) || failed;
} finally {
  rmSync(folder, { recursive: true });
}
process.exit(failed ? 1 : 0);

function fuzz(name: string): boolean {
  const program = path.join(folder, name);
  const source = path.join(import.meta.dirname, `${name}.cc`);
  const flags = ['-std=c++20', '-O1', '-g', '-fno-exceptions', '-DCLOVE_LIBFUZZER'];
  const sanitizers = ['-fsanitize=fuzzer,address,undefined', '-fno-sanitize-recover=all'];
  if (!run(compiler, [...flags, ...sanitizers, source, ...parts, '-o', program])) return false;
  const corpus = path.join(folder, `${name}.corpus`);
  mkdirSync(corpus);
  const limits = [`-max_total_time=${seconds}`, `-seed=${seed}`, `-max_len=${MAX_BYTES}`, '-timeout=10'];
  const reports = ['-print_final_stats=1', '-verbosity=1', `-artifact_prefix=${process.cwd()}/`];
  const isClean = run(program, [...limits, ...reports, corpus]);
  console.log(
    `${name}: ${isClean ? 'nothing found' : 'FOUND SOMETHING'}, ${readdirSync(corpus).length} inputs kept`,
  );
  return isClean;
}

function run(command: string, args: readonly string[]): boolean {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' });
  if (error !== undefined) console.error(`${command}: ${error.message}`);
  return status === 0;
}
