/**
 * node bench/micro/wire.ts TOOLS [rounds]: the wire against a bare echo server. TOOLS holds wirebench.c (client) and cecho.c (epoll
 * echo server); both are compiled here, and measured in turn with the kernel in one run, because machines are noisy.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { withMeasuredKernel } from './kernel.ts';

const [tools, roundsText = '5'] = process.argv.slice(2);
if (tools === undefined) {
  console.error('usage: node bench/micro/wire.ts TOOLS [rounds]');
  process.exit(2);
}
const execute = promisify((await import('node:child_process')).execFile);
const folder = mkdtempSync(join(tmpdir(), 'clove-wire-'));
const echoSocket = join(folder, 'echo.sock');
for (const name of ['wirebench', 'cecho']) {
  execFileSync('gcc', ['-O2', '-o', join(folder, name), join(tools, `${name}.c`)], { stdio: 'inherit' });
}
const echo = spawn(join(folder, 'cecho'), [echoSocket], { stdio: 'ignore' });
try {
  while (!existsSync(echoSocket)) await sleep(5);
  await withMeasuredKernel(async ({ socketPath }) => {
    const measure = async (socket: string, ...args: string[]) =>
      (await execute(join(folder, 'wirebench'), [socket, ...args])).stdout.trim();
    const ratios: number[] = [];
    for (let round = 0; round < Number(roundsText); round++) {
      const bare = await measure(echoSocket, 'rtt', '100000');
      const ours = await measure(socketPath, 'rtt', '100000');
      ratios.push(medianOf(ours) / medianOf(bare));
      console.log(`echo   ${bare}\nkernel ${ours}  ratio ${ratios.at(-1)?.toFixed(3)}`);
    }
    ratios.sort((a, b) => a - b);
    console.log(`median ratio of p50: ${ratios[Math.floor(ratios.length / 2)]?.toFixed(3)}`);
    for (const depth of ['16', '64', '256']) {
      console.log(`echo   ${await measure(echoSocket, 'pipe', '4000000', depth, '8')}`);
      console.log(`kernel ${await measure(socketPath, 'pipe', '4000000', depth, '8')}`);
    }
    console.log(`HELLO  ${(await measure(socketPath, 'call', '20000', 'FE', '{}')).split(' last ')[0]}`);
  });
} finally {
  echo.kill();
  await once(echo, 'exit');
  rmSync(folder, { recursive: true, force: true });
}

function medianOf(line: string): number {
  return Number(/p50 ([\d.]+)/.exec(line)?.[1]);
}
