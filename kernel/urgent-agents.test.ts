import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { hostCapabilities } from '../native/index.ts';
import { until } from './fixture.ts';

/** A process that is nothing but a kernel: the policy would be the test runner's otherwise. */
const SCRIPT = `
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
const { TestKernel } = await import('./kernel/fixture.ts');
const { serveUrgently } = await import('./native/urgent.ts');
const policyOf = (text) => Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[38]);
const ownPolicy = () => policyOf(readFileSync('/proc/self/stat', 'latin1'));
const stop = serveUrgently();
const isAllowed = ownPolicy() !== 0;
const kernel = await TestKernel.boot();
const client = await kernel.connect();
// Booting has kept the thread busy: then it is an ordinary one for a while.
while (isAllowed && ownPolicy() === 0) await sleep(1);
const agents = [];
for (let n = 0; n < 8; n += 1) {
  const { stdout } = await client.run({ command: ['/bin/sh', '-c', 'cat /proc/self/stat'] });
  agents.push(policyOf(stdout));
}
stop();
await client.close();
await kernel.close();
console.log(JSON.stringify({ isAllowed, agents }));
`;

it('agents of a kernel whose threads run before others have the ordinary policy', async (ctx) => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', SCRIPT],
    { cwd: path.join(import.meta.dirname, '..'), timeout: 100_000, killSignal: 'SIGKILL' },
  );
  const { isAllowed, agents } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  expect(agents).toEqual(new Array(8).fill(0));
  if (!isAllowed) ctx.skip('this process may not give itself a real-time policy');
});

/** Whether some hierarchy of control groups has that group. */
function hasGroup(group: string): boolean {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').matchAll(/^(?:\S+ ){4}(\S+) .* - cgroup2? /gm);
  return [...mounts].some(([, mount]) => existsSync(path.join(mount as string, group)));
}

function hasUrgentThread(pid: number): boolean {
  const threads = `/proc/${pid}/task`;
  return readdirSync(threads).some(
    (id) => readFileSync(`${threads}/${id}/comm`, 'utf8') === 'clove-urgent\n',
  );
}

/** Some Linux give cpu to no group, and take no process into one, while a thread concerned has a real-time policy. */
it('a daemon has the groups of its agents before its threads run before others', async (ctx) => {
  if (process.geteuid?.() !== 0) ctx.skip('needs root');
  if (hostCapabilities().cgroup === 'none') ctx.skip('this machine has no cgroups');
  if (spawnSync('chrt', ['-f', '1', 'true']).status !== 0)
    ctx.skip('a process here may have no real-time policy');
  const folder = mkdtempSync(path.join(tmpdir(), 'clove-daemon-'));
  const options = {
    socketPath: path.join(folder, 'k.sock'),
    dataDirectory: path.join(folder, 'data'),
    runDirectory: path.join(folder, 'run'),
    logLevel: 'silent',
    drainMs: 100,
    sandboxPool: 0,
  };
  const source = `import { runDaemon } from ${JSON.stringify(path.join(import.meta.dirname, 'daemon.ts'))};
    process.exitCode = await runDaemon(${JSON.stringify(options)});`;
  const daemon = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(daemon, 'exit');
  try {
    const [line] = await once(daemon.stdout, 'data');
    const { boot } = JSON.parse(String(line));
    await until(() => hasUrgentThread(daemon.pid as number));
    expect(hasGroup(`clove/${boot}`)).toBe(true);
  } finally {
    daemon.kill('SIGTERM');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  }
});
