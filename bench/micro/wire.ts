/**
 * node bench/micro/wire.ts TOOLS [rounds]: the wire against a bare echo server. TOOLS holds wirebench.c (client) and cecho.c (epoll
 * echo server); both are compiled here, and measured in turn with the kernel in one run, because machines are noisy. The kernel
 * is a process of its own, whose threads run before others, as of `clove kernel start`.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { runsKernel, startKernelProcess } from './kernel-process.ts';

const execute = promisify(execFile);

if (!runsKernel) {
  const [tools, roundsText = '5'] = process.argv.slice(2);
  if (tools === undefined) {
    console.error('usage: node bench/micro/wire.ts TOOLS [rounds]');
    process.exit(2);
  }
  await measure(tools, Number(roundsText));
}

async function measure(tools: string, rounds: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'clove-wire-'));
  const echoSocket = join(folder, 'echo.sock');
  for (const name of ['wirebench', 'cecho']) {
    execFileSync('gcc', ['-O2', '-o', join(folder, name), join(tools, `${name}.c`)], { stdio: 'inherit' });
  }
  const echo = spawn(join(folder, 'cecho'), [echoSocket], { stdio: 'ignore' });
  try {
    while (!existsSync(echoSocket)) await sleep(5);
    const kernel = await startKernelProcess();
    try {
      const { socketPath } = kernel;
      const run = async (socket: string, ...args: string[]) =>
        (await execute(join(folder, 'wirebench'), [socket, ...args])).stdout.trim();
      const ratios: number[] = [];
      for (let round = 0; round < rounds; round++) {
        const bare = await run(echoSocket, 'rtt', '100000');
        const ours = await run(socketPath, 'rtt', '100000');
        ratios.push(medianOf(ours) / medianOf(bare));
        console.log(`echo   ${bare}\nkernel ${ours}  ratio ${ratios.at(-1)?.toFixed(3)}`);
      }
      ratios.sort((a, b) => a - b);
      console.log(`median ratio of p50: ${ratios[Math.floor(ratios.length / 2)]?.toFixed(3)}`);
      for (const depth of ['16', '64', '256']) {
        console.log(`echo   ${await run(echoSocket, 'pipe', '4000000', depth, '8')}`);
        console.log(`kernel ${await run(socketPath, 'pipe', '4000000', depth, '8')}`);
      }
      console.log(`HELLO  ${(await run(socketPath, 'call', '20000', 'FE', '{}')).split(' last ')[0]}`);
    } finally {
      kernel.end();
    }
  } finally {
    echo.kill();
    await once(echo, 'exit');
    rmSync(folder, { recursive: true, force: true });
  }
}

function medianOf(line: string): number {
  return Number(/p50 ([\d.]+)/.exec(line)?.[1]);
}
