import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, type TestContext } from 'vitest';
import { ensureNative } from '../native/index.ts';

const root = path.dirname(import.meta.dirname);
const CLOVE = path.join(root, 'bin', 'clove');
const needsRoot = (context: TestContext) => {
  if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
};

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-cli-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const environment = (extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  PATH: process.env.PATH,
  HOME: folder,
  CLOVE_DATA: 'built-in',
  CLOVE_RUNS: path.join(folder, 'runs'),
  ...extra,
});

const clove = (args: string[], options: { input?: string; env?: NodeJS.ProcessEnv } = {}) =>
  spawnSync(CLOVE, args, {
    cwd: folder,
    encoding: 'utf8',
    env: environment(options.env),
    timeout: 120_000,
    ...(options.input === undefined ? {} : { input: options.input }),
  });

describe('usage', () => {
  it('shows examples and exit statuses in its help', () => {
    const { stdout, status } = clove(['--help']);
    expect(status).toBe(0);
    expect(stdout).toContain('clove bench run drug-discovery --quick');
    expect(stdout).toContain('Exit status');
  });

  it('leaves with 2 on anything that makes no sense, and suggests what was meant', () => {
    const typo = clove(['bnech']);
    expect(typo.status).toBe(2);
    expect(typo.stderr).toContain('Did you mean bench?');
    for (const args of [
      ['bench', 'run', 'no-such-scenario'],
      ['bench', 'run', 'drug-discovery', '--faults', 'crash=2'],
      ['bench', 'run', 'drug-discovery', '--parallel', 'many'],
      ['bench', 'run', 'drug-discovery', '--compare', 'moon'],
      ['bench', 'run', 'drug-discovery', '--set', 'datasets'],
      ['run', '--memory', 'lots', '--', 'true'],
      ['run'],
      ['data', 'fetch', 'gold'],
    ]) {
      const result = clove(args);
      expect(result.status, args.join(' ')).toBe(2);
      expect(result.stderr, args.join(' ')).not.toContain('    at ');
      expect(result.stdout, args.join(' ')).toBe('');
    }
  });

  it('suggests the name that was meant, of scenarios and runtimes too, and says where to look', () => {
    expect(clove(['bench', 'run', 'drug-discvery']).stderr).toContain('hint: Did you mean drug-discovery?');
    expect(clove(['bench', 'run', 'drug-discovery', '--compare', 'proces']).stderr).toContain(
      'hint: Did you mean process?',
    );
    expect(clove(['bench', 'run']).stderr).toContain('(see clove bench run --help)');
    expect(clove(['kernel', 'strat']).stderr).toContain('Did you mean start?');
  });

  it('shows one clear line and a hint for an error, and the rest with --verbose', () => {
    const brief = clove(['bench', 'report', 'nothing']);
    expect(brief.status).toBe(1);
    expect(brief.stderr).toMatch(/^clove: there is no run "nothing".*\[RUN_NOT_FOUND\]\n {2}hint: .*\n$/);
    const verbose = clove(['--verbose', 'bench', 'report', 'nothing']);
    expect(verbose.stderr).toContain('    at ');
  });

  it('treats names that look like options or commands as names', () => {
    const result = clove(['agent', 'kill', '--socket', path.join(folder, 'none.sock'), '--', '-rf', '$(id)']);
    expect(result.status).toBe(1);
    expect(result.stderr).toContain('[UNREACHABLE]');
  });
});

describe('clove', () => {
  it('ends without a word when nobody reads its output any more', () => {
    const { stderr, stdout } = spawnSync(
      '/bin/sh',
      ['-c', '{ "$0" bench run --help; echo "status $?" >&2; } | true; sleep 0.1', CLOVE],
      { encoding: 'utf8' },
    );
    expect(stdout).toBe('');
    // What was written before the reader went has been written.
    expect(stderr).toMatch(/^status (141|0)\n$/);
  });
});

describe('clove bench run --dry-run', () => {
  const runs = () => path.join(folder, 'dry-runs');
  const dry = (...args: string[]) =>
    clove(['bench', 'run', ...args, '--dry-run'], { env: { CLOVE_RUNS: runs() } });

  it('tells what would run, and makes nothing', () => {
    const { status, stdout } = dry(
      'drug-discovery',
      '--quick',
      '--compare',
      'process',
      '--faults',
      'crash=0.05',
    );
    expect(status).toBe(0);
    expect(stdout).toMatch(/^exp_001 {2}hERG +morgan +random_forest +42$/m);
    expect(stdout).toMatch(/^trials: +8 on each of 2 runtimes, at most 3 attempts/m);
    expect(stdout).toMatch(/^runtimes: +clove, process, in 2 turns each/m);
    expect(stdout).toMatch(/^data: +hERG: rule-labelled, synthetic/m);
    expect(stdout).toMatch(/^faults: +crash 0\.05 per attempt$/m);
    expect(stdout).toMatch(/^time: +not known/m);
    expect(stdout).toContain(`${runs()}/YYYYMMDD-HHMMSS-drug-discovery-xxxx`);
    expect(existsSync(runs())).toBe(false);
  });

  it('gives the same as data, all trials of it', () => {
    const { status, stdout } = dry('drug-discovery', '--size', '100', '--json');
    expect(status).toBe(0);
    const plan = JSON.parse(stdout);
    expect(plan).toMatchObject({ dryRun: true, runtimes: ['clove'], estimatedWallMs: null });
    expect(plan.trials).toHaveLength(100);
    expect(dry('drug-discovery', '--size', '100').stdout).toContain('… and 40 more (--json has all)');
    expect(existsSync(runs())).toBe(false);
  });

  it('refuses what a run would refuse', () => {
    const wrong = dry('drug-discovery', '--compare', 'moon');
    expect(wrong).toMatchObject({ status: 2, stdout: '' });
    expect(wrong.stderr).toContain('there is no runtime "moon"');
    expect(dry('drug-discovery', '--data', path.join(folder, 'no-data'))).toMatchObject({
      status: 1,
      stdout: '',
    });
  });
});

describe('clove run', () => {
  beforeEach(needsRoot);
  it('passes output, input and exit status through', () => {
    const result = clove(['run', '--', 'sh', '-c', 'cat; echo oops >&2; exit 7'], { input: 'hello\n' });
    expect(result).toMatchObject({ status: 7, stdout: 'hello\n', stderr: 'oops\n' });
  });

  it('passes bytes through whole, however many', () => {
    const result = spawnSync(
      CLOVE,
      ['run', '--', 'sh', '-c', 'head -c 5000000 /dev/zero | tr "\\0" "\\377"'],
      {
        cwd: folder,
        env: environment(),
        maxBuffer: 2 ** 24,
      },
    );
    expect(result.stdout.length).toBe(5_000_000);
    expect(result.stdout.every((byte) => byte === 0xff)).toBe(true);
  });

  it('isolates: no host files, no host user, no network', () => {
    const { stdout } = clove([
      'run',
      '--',
      'sh',
      '-c',
      'id -u; cat /etc/shadow 2>&1; ls /root /home 2>&1; cat /proc/net/dev | tail -n +3',
    ]);
    expect(Number(stdout.split('\n')[0])).toBeGreaterThanOrEqual(200_000);
    expect(stdout).not.toContain('root:');
    expect(stdout).not.toMatch(/eth\d|ens\d|veth/);
  });

  it('tells by its exit status what ended the command', () => {
    expect(clove(['run', '--timeout', '500ms', '--', 'sleep', '30']).status).toBe(124);
    const oom = clove(['run', '--memory', '32M', '--', 'python3', '-c', 'b"x" * 10**9']);
    expect(oom.status).toBe(137);
    expect(oom.stderr).toContain('out of memory');
    expect(clove(['run', '--', 'sh', '-c', 'kill -TERM $$']).status).toBe(128 + 15);
    expect(clove(['run', '--', 'no-such-command']).status).toBe(127);
    expect(clove(['run', '--', '/etc/passwd']).status).toBe(126);
  });

  it('shows a host folder inside, read-only unless asked', () => {
    const source = path.join(folder, 'shared');
    mkdirSync(source, { mode: 0o777 });
    writeFileSync(path.join(source, 'note.txt'), 'from the host', { mode: 0o644 });
    const result = clove([
      'run',
      '--mount',
      `${source}:/src`,
      '--',
      'sh',
      '-c',
      'cat /src/note.txt; touch /src/new',
    ]);
    expect(result.stdout).toBe('from the host');
    expect(result.stderr).toContain('Read-only file system');
    expect(existsSync(path.join(source, 'new'))).toBe(false);
  });

  it('without a sandbox needs no right; a limit that is named must hold, and one that is missing is told', (context) => {
    const nobody = { uid: 65_534, gid: 65_534 };
    const asNobody = (args: string[]) => {
      const home = mkdtempSync(path.join(tmpdir(), 'clove-nobody-'));
      try {
        // The native part as it is built already: compiling it again for another user takes long.
        const cache = path.join(home, '.cache', 'clove', 'native');
        mkdirSync(cache, { recursive: true });
        const { addon, init } = ensureNative();
        for (const file of [addon, init]) copyFileSync(file, path.join(cache, path.basename(file)));
        spawnSync('chown', ['-R', `${nobody.uid}:${nobody.gid}`, home]);
        const env = { PATH: process.env.PATH, HOME: home, TMPDIR: home, XDG_RUNTIME_DIR: home };
        return spawnSync(CLOVE, args, { ...nobody, cwd: home, encoding: 'utf8', env });
      } finally {
        rmSync(home, { recursive: true, force: true });
      }
    };
    const first = asNobody(['version']);
    if (first.status !== 0) context.skip(`the sources cannot be read by other users: ${first.stderr}`);
    const bare = asNobody(['run', '--no-sandbox', '--', 'id', '-u']);
    expect(bare).toMatchObject({ status: 0, stdout: '65534\n' });
    expect(bare.stderr).toBe('warning: ran without these limits: mem, swap, cpu, pids\n');
    const named = asNobody(['run', '--no-sandbox', '--memory', '64M', '--', 'id', '-u']);
    expect(named).toMatchObject({ status: 125, stdout: '' });
    expect(named.stderr).toContain('EACCES');
    expect(named.stderr).toContain('hint: Start the kernel as root');
    const bench = asNobody(['bench', 'run', 'drug-discovery', '--quick', '--require', 'full']);
    expect(bench).toMatchObject({ status: 125, stdout: '' });
    expect(bench.stderr).toContain('--require reduced');
    expect(bench.stderr).not.toContain('prepared');
  });

  it('leaves nothing of a command whose clove was killed: the next one clears up', async () => {
    const temporary = mkdtempSync(path.join(tmpdir(), 'clove-killed-'));
    const env = environment({ TMPDIR: temporary });
    try {
      const child = spawn(CLOVE, ['run', '--', 'sh', '-c', 'echo ready; sleep 600'], {
        env,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(child.stdout, 'data');
      const [left] = readdirSync(temporary).filter((name) => name.startsWith('clove-run-'));
      // One that lives is not touched, however old.
      utimesSync(path.join(temporary, left as string), 0, 0);
      expect(clove(['run', '--', 'true'], { env }).status).toBe(0);
      expect(readdirSync(temporary)).toContain(left);
      child.kill('SIGKILL');
      await once(child, 'exit');
      utimesSync(path.join(temporary, left as string), 0, 0);
      expect(clove(['run', '--', 'true'], { env }).status).toBe(0);
      expect(readdirSync(temporary).filter((name) => name.startsWith('clove-run-'))).toEqual([]);
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
  });

  it('does not hand its own environment down', () => {
    const result = clove(['run', '--env', 'MINE=1', '--', 'env'], { env: { SECRET_TOKEN: 'hush' } });
    expect(result.stdout).toContain('MINE=1');
    expect(result.stdout).not.toContain('hush');
  });
});

describe('a kernel and its agents', () => {
  beforeEach(needsRoot);
  let socket: string;
  let dataDirectory: string;
  beforeAll(() => {
    socket = path.join(folder, 'kernel.sock');
    dataDirectory = path.join(folder, 'kernel-data');
  });
  const kernel = (args: string[]) => clove([...args, '--socket', socket]);

  it('starts, answers, refuses a second one, and stops without a trace', () => {
    const started = kernel(['kernel', 'start', '--data-dir', dataDirectory, '--json']);
    expect(started.status, started.stderr).toBe(0);
    const { pid } = JSON.parse(started.stdout) as { pid: number };
    try {
      expect(JSON.parse(kernel(['kernel', 'status', '--json']).stdout)).toMatchObject({
        running: true,
        pid,
        agents: 0,
      });
      const second = kernel(['kernel', 'start', '--data-dir', path.join(folder, 'other')]);
      expect(second.status).toBe(1);
      expect(second.stderr).toContain('ALREADY_RUNNING');

      const script = path.join(folder, 'agent.sh');
      writeFileSync(script, 'printf "\\033[31mred\\033[0m and plain\\n"; exec sleep 600\n', { mode: 0o755 });
      const ran = kernel(['agent', 'run', script, '--name', 'sleeper', '--json']);
      expect(ran.status, ran.stderr).toBe(0);
      const [listed] = JSON.parse(kernel(['ps', '--json']).stdout) as { name: string; state: string }[];
      expect(listed).toMatchObject({ name: 'sleeper', state: 'running' });
      expect(kernel(['agent', 'pause', 'sleeper']).stdout).toBe('sleeper paused\n');
      expect(kernel(['ps']).stdout).toMatch(/sleeper\s+paused/);
      expect(kernel(['agent', 'resume', 'sleeper']).stdout).toBe('sleeper resumed\n');
      const logs = kernel(['agent', 'logs', 'sleeper']).stdout;
      expect(logs).toContain('\\x1b[31mred');
      expect(logs).not.toContain('\u001b');
      const chatter = path.join(folder, 'chatter.sh');
      // Half of a character, and its other half a while later.
      writeFileSync(chatter, 'printf "one \\303"; sleep 1; printf "\\251\\ntwo\\n"; echo err >&2; exit 3\n');
      kernel(['agent', 'run', chatter, '--name', 'chatter', '--json']);
      const followed = kernel(['agent', 'logs', 'chatter', '--follow']);
      expect(followed).toMatchObject({ status: 0, stdout: 'one é\ntwo\n', stderr: 'err\n' });
      expect(kernel(['agent', 'logs', 'chatter', '--follow', '--bytes', '4'])).toMatchObject({
        status: 0,
        stdout: 'two\n',
        stderr: 'err\n',
      });
      const flood = path.join(folder, 'flood.sh');
      writeFileSync(flood, 'head -c 5000000 /dev/zero | tr "\\0" x; echo end\n');
      expect(kernel(['agent', 'run', flood, '--name', 'flood', '--wait']).status).toBe(0);
      const all = kernel(['agent', 'logs', 'flood', '--follow']);
      expect(all.stdout).toMatch(/^x+end\n$/);
      expect(all.stderr).toMatch(/^warning: .* of output were not kept\n$/);
      const unknown = kernel(['agent', 'pause', 'sleper']);
      expect(unknown.status).toBe(1);
      expect(unknown.stderr).toContain('hint: Did you mean sleeper?');
      expect(kernel(['agent', 'kill', 'sleeper', '--grace', '100ms']).status).toBe(0);
      expect(kernel(['ps']).stdout).toBe('no agents\n');
      expect(kernel(['ps', '--all']).stdout).toMatch(/sleeper\s+\w+ \(killed\)\s+–\s+–\s+–\s+–/);
    } finally {
      const stopped = kernel(['kernel', 'stop']);
      expect(stopped.status, stopped.stderr).toBe(0);
    }
    expect(existsSync(socket)).toBe(false);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    const gone = kernel(['kernel', 'status']);
    expect(gone.status).toBe(1);
    expect(gone.stderr).toContain('UNREACHABLE');
  });

  it('runs an agent to its end with --wait and takes over its status', () => {
    const started = kernel(['kernel', 'start', '--data-dir', dataDirectory]);
    expect(started.status, started.stderr).toBe(0);
    try {
      const script = path.join(folder, 'three-lines.ts');
      writeFileSync(
        script,
        `import { connect } from 'clove/sdk';
const clove = await connect();
console.log('caller', (await clove.hello()).agent_name);
process.exit(5);
`,
      );
      const result = kernel(['agent', 'run', script, '--name', 'three-lines', '--wait']);
      expect(result.stdout, result.stderr).toBe('caller three-lines\n');
      expect(result.status).toBe(5);
      const endless = path.join(folder, 'endless.sh');
      writeFileSync(endless, 'exec sleep 600\n');
      const stopped = kernel(['agent', 'run', endless, '--timeout', '200ms', '--wait']);
      expect(stopped.stderr).toMatch(/^warning: \S+ did not exit by itself: timeout\n$/);
      expect(stopped.status).toBe(124);
    } finally {
      kernel(['kernel', 'stop']);
    }
  });
});

describe('clove bench', () => {
  beforeEach(needsRoot);
  it('stops cleanly on Ctrl-C and goes on with resume, running nothing twice', async () => {
    const child = spawn(
      CLOVE,
      ['bench', 'run', 'overhead', '--size', '60', '--set', 'busy-ms=150', '--progress', 'json'],
      {
        cwd: folder,
        env: environment(),
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    await untilSeen(child, /"kind":"attempt-end"/);
    child.kill('SIGINT');
    const [status] = (await once(child, 'exit')) as [number];
    expect(status).toBe(130);
    const [listed] = (
      JSON.parse(clove(['bench', 'list', '--json']).stdout) as {
        runs: { runId: string; status: string; passed: number }[];
      }
    ).runs;
    expect(listed).toMatchObject({ status: 'interrupted' });
    expect(listed?.passed).toBeGreaterThan(0);
    expect(listed?.passed).toBeLessThan(60);

    const resumed = clove(['bench', 'resume', 'latest', '--json']);
    expect(resumed.status, resumed.stderr).toBe(0);
    const results = JSON.parse(resumed.stdout) as {
      status: string;
      runDir: string;
      trials: { status: string; attempts: { end: string }[] }[];
    };
    expect(results.status).toBe('complete');
    expect(results.trials.map(({ status: outcome }) => outcome)).toEqual(Array(60).fill('passed'));
    // Each trial completed exactly once, whichever session did it.
    for (const { attempts } of results.trials) {
      expect(attempts.filter(({ end }) => end === 'completed').length).toBe(1);
    }
    for (const file of ['report.html', 'report.md', 'results.json']) {
      expect(readFileSync(path.join(results.runDir, file), 'utf8').length).toBeGreaterThan(1000);
    }
  });

  it('draws a report again from the records alone', () => {
    const output = path.join(folder, 'redrawn');
    mkdirSync(output);
    const result = clove(['bench', 'report', 'latest', '--output', output]);
    expect(result.status, result.stderr).toBe(0);
    expect(readFileSync(path.join(output, 'report.html'), 'utf8')).toContain('<!doctype html>');
  });
});

/** Goes on reading afterwards: a child must not meet a closed pipe. */
function untilSeen(child: ChildProcess, pattern: RegExp): Promise<void> {
  let text = '';
  return new Promise((resolve, reject) => {
    child.stderr?.on('data', (chunk) => {
      text += String(chunk);
      if (pattern.test(text)) resolve();
    });
    child.once('exit', () => reject(new Error(`never seen: ${pattern}\n${text}`)));
  });
}
