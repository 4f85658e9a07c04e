// Timed waits of Node, each for a known time. One line per case: name, expected, elapsed, really elapsed (seconds).
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

const really = () => Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
const failures = [];

async function measure(name, expected, body) {
  if (process.argv[2] !== undefined && process.argv[2] !== name) return;
  const startReally = really();
  const start = performance.now();
  let ok;
  try {
    ok = await body();
  } catch (error) {
    ok = error;
  }
  const seconds = (performance.now() - start) / 1000;
  console.log(`${name} ${expected.toFixed(3)} ${seconds.toFixed(6)} ${(really() - startReally).toFixed(3)}`);
  if (ok === true) return;
  failures.push(name);
  console.error(`${name}: wrong result:`, ok);
}

await measure('node-setTimeout', 10, async () => {
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  return true;
});
await measure('node-timers-promises', 10, async () => {
  await sleep(10_000);
  return true;
});
await measure('node-setInterval', 30, () => {
  let ticks = 0;
  return new Promise((resolve) => {
    const interval = setInterval(() => {
      ticks += 1;
      if (ticks < 30) return;
      clearInterval(interval);
      resolve(true);
    }, 1000);
  });
});
await measure('node-clocks', 100, async () => {
  const before = [Date.now(), performance.now(), Number(process.hrtime.bigint()) / 1e6];
  const cpu = process.cpuUsage();
  await sleep(100_000);
  const after = [Date.now(), performance.now(), Number(process.hrtime.bigint()) / 1e6];
  return (
    after.every((now, i) => now - before[i] > 99_990 && now - before[i] < 110_000) &&
    process.cpuUsage(cpu).user < 10e6
  );
});
await measure('node-Atomics.wait', 10, () => {
  const word = new Int32Array(new SharedArrayBuffer(4));
  return Atomics.wait(word, 0, 0, 10_000) === 'timed-out';
});
await measure('node-Atomics.waitAsync', 10, async () => {
  const word = new Int32Array(new SharedArrayBuffer(4));
  const keep = setTimeout(() => {}, 60_000);
  const result = await Atomics.waitAsync(word, 0, 0, 10_000).value;
  clearTimeout(keep);
  return result === 'timed-out';
});
await measure('node-worker', 10, () => {
  const worker = new Worker(
    "setTimeout(() => require('node:worker_threads').parentPort.postMessage(1), 10_000)",
    { eval: true },
  );
  return new Promise((resolve, reject) => {
    worker.on('message', () => resolve(true));
    worker.on('error', reject);
  });
});
await measure('node-worker-Atomics', 10, () => {
  const worker = new Worker(
    "const w = new Int32Array(new SharedArrayBuffer(4)); require('node:worker_threads').parentPort.postMessage(Atomics.wait(w, 0, 0, 10_000))",
    { eval: true },
  );
  return new Promise((resolve, reject) => {
    worker.on('message', (text) => resolve(text === 'timed-out'));
    worker.on('error', reject);
  });
});
await measure('node-execFile-timeout', 5, () => {
  return new Promise((resolve) => {
    execFile('sleep', ['60'], { timeout: 5000 }, (error) => resolve(error?.killed === true));
  });
});
await measure(
  'node-spawnSync-timeout',
  5,
  () => spawnSync('sleep', ['60'], { timeout: 5000 }).error?.code === 'ETIMEDOUT',
);
await measure('node-child-sleep', 10, () => {
  return new Promise((resolve) => {
    execFile('sleep', ['10'], { env: {} }, (error) => resolve(error === null));
  });
});
await measure('node-fetch', 20, async () => {
  // Twenty requests of a second each, with a time-out of two.
  const server = createServer((_request, response) => setTimeout(() => response.end('pong'), 1000));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  for (let i = 0; i < 20; i++) {
    const answer = await fetch(`http://127.0.0.1:${server.address().port}/`, {
      signal: AbortSignal.timeout(2000),
    });
    if ((await answer.text()) !== 'pong') return 'no answer';
  }
  server.closeAllConnections();
  server.close();
  return true;
});
await measure('node-AbortSignal.timeout', 10, async () => {
  const server = createServer(() => {});
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await fetch(`http://127.0.0.1:${server.address().port}/`, { signal: AbortSignal.timeout(10_000) });
  } catch (error) {
    return error.name === 'TimeoutError';
  } finally {
    server.closeAllConnections();
    server.close();
  }
  return false;
});

process.exitCode = failures.length === 0 ? 0 : 1;
