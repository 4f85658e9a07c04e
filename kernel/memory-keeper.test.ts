import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

/** Fills the C library's heap with pieces that the last one keeps from shrinking, frees the rest, and waits until that is given back. */
const SCRIPT = `
const { keepMemoryTrimmed } = await import('./kernel/memory-keeper.ts');
const { keptMemoryBytes } = await import('./native/memory.ts');
const stop = keepMemoryTrimmed();
let pieces = Array.from({ length: 3000 }, () => new Uint8Array(40_000).fill(1));
const last = Array.from({ length: 200 }, () => new Uint8Array(40_000).fill(1));
pieces = null;
gc();
const most = process.memoryUsage.rss();
const kept = keptMemoryBytes();
while (process.memoryUsage.rss() > most - 80e6) await new Promise((resolve) => setTimeout(resolve, 200));
stop();
console.log(JSON.stringify({ kept, left: last.length }));
`;

it('a kernel at rest gives back what was freed', { timeout: 120_000 }, async (ctx) => {
  const report = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  if (report.header.glibcVersionRuntime === undefined) ctx.skip('the C library is not glibc');
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--expose-gc', '--input-type=module', '-e', SCRIPT],
    // Ends with the test, also where the memory never comes back.
    { cwd: path.join(import.meta.dirname, '..'), timeout: 110_000, killSignal: 'SIGKILL' },
  );
  expect(JSON.parse(stdout)).toEqual({ kept: expect.any(Number), left: 200 });
});
