import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

/** Linux 6.12 is the first on which a thread has a slice of its own; whether it tells is a matter of its configuration. */
const [major = 0, minor = 0] = release().split('.').map(Number);
const hasSlices = (major > 6 || (major === 6 && minor >= 12)) && existsSync('/proc/self/sched');

/** A process that is nothing but a server: real-time policies would be the test runner's otherwise. */
const SCRIPT = `
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
const { createWireServer } = await import('./native/index.ts');
const { serveUrgently } = await import('./native/urgent.ts');
const HAS_SLICES = ${hasSlices};
const policyOf = (text) => Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[38]);
const policies = () => {
  const found = { main: null, wire: null };
  for (const id of readdirSync('/proc/self/task')) {
    const text = readFileSync('/proc/self/task/' + id + '/stat', 'latin1');
    if (Number(id) === process.pid) found.main = policyOf(text);
    if (text.includes('(clove-wire)')) found.wire = policyOf(text);
  }
  return found;
};
/** Of threads with the ordinary policy, in nanoseconds. */
const slices = () => {
  const found = { main: null, wire: null };
  for (const id of readdirSync('/proc/self/task')) {
    const text = readFileSync('/proc/self/task/' + id + '/sched', 'latin1');
    const slice = Number(/^se.slice +: +([0-9]+)/m.exec(text)?.[1]);
    if (Number(id) === process.pid) found.main = slice;
    if (text.startsWith('clove-wire ')) found.wire = slice;
  }
  return found;
};
const wire = createWireServer({ onOpen() {}, onRequests() {}, onClose() {} });
let before = policies();
while (before.wire === null) { await sleep(1); before = policies(); }
const stop = serveUrgently();
let on = policies();
// The thread of the wire takes part a moment after it has a name.
while (on.main !== 0 && on.wire === 0) { await sleep(1); on = policies(); }
if (on.main === 0) { console.log(JSON.stringify({ before, on })); process.exit(); }
const child = policyOf(execFileSync('/bin/cat', ['/proc/self/stat'], { encoding: 'latin1' }));
let busy = on;
while (busy.main !== 0) busy = policies();
const busySlice = HAS_SLICES ? slices().main : null;
let later = busy;
while (later.main === 0) { await sleep(1); later = policies(); }
stop();
console.log(JSON.stringify({ before, on, child, busy, busySlice, later, stopped: policies(), stoppedSlices: HAS_SLICES ? slices() : null }));
wire.close();
`;

it('threads that answer run before all others, but not while they keep a processor busy, and what they start does not', async (ctx) => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', SCRIPT],
    { cwd: path.join(import.meta.dirname, '..'), timeout: 60_000, killSignal: 'SIGKILL' },
  );
  const seen = JSON.parse(stdout);
  const ordinary = { main: 0, wire: 0 };
  expect(seen.before).toEqual(ordinary);
  if (seen.on.main === 0) {
    expect(seen.on).toEqual(ordinary);
    ctx.skip('this process may not give itself a real-time policy');
  }
  const shortest = 100_000;
  const roundRobin = { main: 2, wire: 2 };
  expect(seen).toEqual({
    before: ordinary,
    on: roundRobin,
    child: 0,
    busy: { main: 0, wire: 2 },
    busySlice: hasSlices ? shortest : null,
    later: roundRobin,
    stopped: ordinary,
    stoppedSlices: hasSlices ? { main: shortest, wire: shortest } : null,
  });
});

/**
 * On one processor: JavaScript's thread and another one that takes part, each with some 45 % of it. Done when one of them is an ordinary
 * thread and the other is not.
 */
const TOGETHER = `
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
const { loadAddon } = await import('./native/load.ts');
const work = () => {
  const end = performance.now() + 1;
  while (performance.now() < end);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1.2);
};
const worker = new Worker(
  "import { readlinkSync } from 'node:fs';" +
  "import { parentPort } from 'node:worker_threads';" +
  "const { loadAddon } = await import(process.cwd() + '/native/load.ts');" +
  "loadAddon().urgent.join();" +
  "parentPort.postMessage(readlinkSync('/proc/thread-self'));" +
  "const work = " + work + ";" +
  "for (;;) work();",
  { eval: true },
);
const other = await new Promise((resolve) => worker.once('message', resolve));
const policyOf = (thread) => {
  const text = readFileSync('/proc/' + thread + '/stat', 'latin1');
  return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[38]);
};
const { urgent } = loadAddon();
urgent.join();
const allowed = urgent.start();
let seen = '';
while (allowed && seen !== '0,2') {
  work();
  seen = [policyOf('self'), policyOf(other)].sort().join();
}
console.log(JSON.stringify({ allowed }));
process.exit();
`;

it('threads that run before all others leave one processor to others, all of them together', async (ctx) => {
  const processor =
    /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const { stdout } = await promisify(execFile)(
    'taskset',
    [
      '-c',
      processor,
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      '--input-type=module',
      '-e',
      TOGETHER,
    ],
    { cwd: path.join(import.meta.dirname, '..'), timeout: 60_000, killSignal: 'SIGKILL' },
  );
  if (!JSON.parse(stdout).allowed) ctx.skip('this process may not give itself a real-time policy');
});
