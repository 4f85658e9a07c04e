import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { TestKernel } from '../kernel/fixture.ts';
import { TestRelay } from '../kernel/tunnel/testing.ts';
import { worldHost } from '../worlds/index.ts';

const root = path.dirname(import.meta.dirname);
const project = path.join(root, 'sdk', 'python');

/** What the tests of the SDK need; the SDK itself needs nothing, but websockets for a relay and what `clove_sdk.gym` is an interface of. */
const PACKAGES = [
  'gymnasium==1.4.0',
  'hatchling==1.33.0',
  'hypothesis==6.170.15',
  'mypy==2.4.1',
  'numpy==2.4.6',
  'pettingzoo==1.27.0',
  'pytest==9.2.0',
  'ruff==0.17.5',
  'websockets==17.4',
];

/** A virtual environment with the packages, made once and kept in build/; or why there is none. */
function environment(): { readonly bin: string } | { readonly reason: string } {
  const version = spawnSync('python3', ['-c', 'import sys; print(sys.version, sys.prefix)'], {
    encoding: 'utf8',
  });
  if (version.status !== 0) return { reason: 'there is no python3' };
  const known = createHash('sha256')
    .update([version.stdout, ...PACKAGES].join('\n'))
    .digest('hex')
    .slice(0, 16);
  const folder = path.join(root, 'build', `python-${known}`);
  if (existsSync(folder)) return { bin: path.join(folder, 'bin') };
  const making = `${folder}.making-${process.pid}`;
  try {
    mkdirSync(path.dirname(folder), { recursive: true });
    const made = spawnSync('python3', ['-m', 'venv', making], { encoding: 'utf8' });
    if (made.status !== 0) return { reason: `python3 -m venv failed: ${made.stderr.trim()}` };
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...PACKAGES];
    const installed = spawnSync(path.join(making, 'bin', 'python'), pip, { encoding: 'utf8' });
    if (installed.status !== 0) {
      const [reason = ''] = installed.stderr.trim().split('\n').slice(-1);
      return { reason: `the Python package index cannot be reached or lacks a package: ${reason}` };
    }
    renameSync(making, folder);
    return { bin: path.join(folder, 'bin') };
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
}

interface Ended {
  readonly status: number | null;
  readonly output: string;
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: project,
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const collect = (chunk: Buffer): void => {
      output += chunk.toString('utf8');
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, output }));
  });
}

describe('the Python SDK', () => {
  let python: ReturnType<typeof environment>;
  let kernel: TestKernel;
  let relay: TestRelay;

  const programs = (context: TestContext): string => {
    if ('reason' in python) return context.skip(python.reason);
    return python.bin;
  };

  beforeAll(async () => {
    python = environment();
    kernel = await TestKernel.boot({ llm: { provider: 'mock' } }, { worlds: worldHost() });
    relay = await TestRelay.start();
  }, 600_000);

  afterAll(async () => {
    await kernel.close();
    await relay.close();
  });

  it('is there for every Python agent, with nothing installed or mounted by hand', async (context) => {
    if (!existsSync('/usr/bin/python3')) context.skip('no Python that a sandbox can see: /usr/bin/python3');
    const client = await kernel.connect();
    const source =
      'from clove_sdk import CloveClient\nwith CloveClient() as clove: print(clove.hello().agent_id)';
    const ended = await client.run({ command: ['/usr/bin/python3', '-W', 'error', '-c', source] });
    expect(ended.stderr).toBe('');
    expect(ended.stdout).toBe(`${ended.agent_id}\n`);
  });

  it('can be imported by an agent in a sandbox that has only its folder', async (context) => {
    if (!existsSync('/usr/bin/python3')) context.skip('no Python that a sandbox can see: /usr/bin/python3');
    const client = await kernel.connect();
    const agent = [
      'from clove_sdk import CloveClient',
      'with CloveClient() as clove:',
      '    print(clove.hello().agent_id, clove.store("k", [1], scope="agent").success, clove.fetch("k").value)',
    ];
    const ended = await client.run({
      command: [
        '/usr/bin/python3',
        '-I',
        '-c',
        `import sys; sys.path.append('/opt/python')\n${agent.join('\n')}`,
      ],
      mounts: [{ source: path.join(project, 'src', 'clove_sdk'), target: '/opt/python/clove_sdk' }],
      env: { PYTHONDONTWRITEBYTECODE: '1' },
    });
    expect(ended.stderr).toBe('');
    expect(ended.stdout).toBe(`${ended.agent_id} True [1]\n`);
  });

  it('passes its own tests, against a scripted kernel and this one', async (context) => {
    const bin = programs(context);
    const { status, output } = await run(
      path.join(bin, 'python'),
      ['-m', 'pytest', '-q', '-o', 'faulthandler_timeout=45'],
      {
        CLOVE_TEST_SOCKET: kernel.running.socketPath,
        CLOVE_TEST_RELAY: relay.url,
      },
    );
    expect(status, output).toBe(0);
    // With a kernel at hand nothing of the SDK's tests may be left out, except for a missing /usr/bin/python3.
    expect(
      output.split('\n').filter((line) => /^SKIPPED/.test(line) && !line.includes('/usr/bin/python3')),
    ).toEqual([]);
  }, 600_000);

  it('is typed throughout, also its tests', async (context) => {
    const { status, output } = await run(path.join(programs(context), 'python'), ['-m', 'mypy', '--strict']);
    expect(status, output).toBe(0);
  }, 300_000);

  it('is formatted, and clean to the linter', async (context) => {
    const ruff = path.join(programs(context), 'ruff');
    const checked = await run(ruff, ['check', '--no-cache', '.']);
    expect(checked.status, checked.output).toBe(0);
    const formatted = await run(ruff, ['format', '--no-cache', '--check', '.']);
    expect(formatted.status, formatted.output).toBe(0);
  });
});
