// Runs inside a container: the doctor, agents that require everything and agents that do with less, and the main job. What a report
// tells of an agent is held against what the agent sees of itself. Exit status 1 when one of them is not so.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { TestKernel } from '../../kernel/fixture.ts';

const root = path.dirname(path.dirname(import.meta.dirname));
const NAMESPACES = {
  pidns: 'pid',
  mntns: 'mnt',
  netns: 'net',
  ipcns: 'ipc',
  utsns: 'uts',
  cgroupns: 'cgroup',
};
const mark = `71.${process.pid}`;
const secret = path.join(mkdtempSync('/var/tmp/clove-docker-'), 'secret');
writeFileSync(secret, 'open to all', { mode: 0o644 });
execFileSync('chmod', ['755', path.dirname(secret)]);

interface Row {
  readonly layer: string;
  readonly requested: boolean;
  readonly state: 'on' | 'off' | 'degraded' | 'n/a';
  readonly how: string;
  readonly errno: string | null;
}

const failures: string[] = [];
function hold(what: string, isSo: boolean): void {
  console.log(`${isSo ? 'so' : 'NOT SO'}: ${what}`);
  if (!isSo) failures.push(what);
}

function clove(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(path.join(root, 'bin/clove'), args, {
    encoding: 'utf8',
    cwd: tmpdir(),
  });
  return { status, stdout, stderr };
}

const report = JSON.parse(clove('doctor', '--json').stdout) as { strength: string; layers: Row[] };
const asked = report.layers.filter(({ requested }) => requested);
const lacking = asked.filter(({ state }) => state !== 'on').map(({ layer }) => layer);
console.log(`doctor: ${report.strength}; lacking: ${lacking.join(' ') || 'nothing'}`);

const kernel = await TestKernel.boot();
try {
  const client = await kernel.connect();
  const full = await client.call('SPAWN', { command: ['/bin/true'] });
  console.log(
    `spawn that requires everything: ${full.success ? 'runs' : `${full.code} ${JSON.stringify(full.details)}`}`,
  );
  hold(
    'an agent that requires everything starts where the doctor finds everything, and nowhere else',
    full.success === (lacking.length === 0),
  );
  if (!full.success)
    hold('its refusal names a layer that the doctor finds lacking', lacking.includes(full.details.layer));

  const isolation = { allow_degraded: lacking };
  for (const layer of lacking) {
    const allowed = lacking.filter((other) => other !== layer);
    const answer = await client.call('SPAWN', {
      command: ['/bin/true'],
      isolation: { allow_degraded: allowed },
    });
    hold(
      `without leave for ${layer} it is refused`,
      answer.success === false && answer.code === 'SANDBOX_UNAVAILABLE',
    );
  }

  const look = `cat /proc/self/status; for n in ${Object.values(NAMESPACES).join(' ')}; do readlink /proc/self/ns/$n; done;
    cat ${secret} 2>/dev/null; grep -q ' / / ro' /proc/self/mountinfo && echo root is read-only; test -e /sys/kernel && echo sees sys; test -e ${secret} && echo sees the host;
    echo variables: $(env | cut -d= -f1 | sort | tr '\\n' ' '); echo files: $(ulimit -n); echo descriptors: $(ls /proc/self/fd | wc -l)`;
  const agent = await client.spawn({ command: ['/bin/sh', '-c', look], isolation });
  const exit = await client.call('WAIT', { id: agent.id });
  const { stdout } = (await client.call('LOGS', { id: agent.id })) as { stdout: string };
  const rows = agent.isolation.layers as Row[];
  const isOn = (layer: string) => rows.some((row) => row.layer === layer && row.state === 'on');
  const isDegraded = (layer: string) => rows.some((row) => row.layer === layer && row.state === 'degraded');
  const field = (text: string, name: string) => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(text)?.[1] ?? '';
  const own = readFileSync('/proc/self/status', 'utf8');
  console.log('\nlayer        state     how');
  for (const { layer, requested, state, how, errno } of rows)
    if (requested)
      console.log(`${layer.padEnd(12)} ${state.padEnd(9)} ${how}${errno === null ? '' : ` (${errno})`}`);
  console.log('');

  hold('the agent runs', exit.exit_code === 0);
  hold(
    'it has what the doctor found, no more and no less',
    asked.every(({ layer, state }) => (state === 'on') === isOn(layer)),
  );
  hold('uid', isOn('uid') === !field(stdout, 'Uid').split('\t').includes(String(process.geteuid?.())));
  const empty = ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].every((set) => /^0+$/.test(field(stdout, `Cap${set}`)));
  hold('caps', isOn('caps') === empty);
  hold('nnp', isOn('nnp') === (field(stdout, 'NoNewPrivs') === '1'));
  const filters = (text: string) => Number(field(text, 'Seccomp_filters'));
  hold('seccomp', isOn('seccomp') === (field(stdout, 'Seccomp') === '2' && filters(stdout) > filters(own)));
  for (const [layer, name] of Object.entries(NAMESPACES))
    hold(
      layer,
      (isOn(layer) || isDegraded(layer)) === !stdout.includes(readlinkSync(`/proc/self/ns/${name}`)),
    );
  // The container's own root may be read-only too, but it has what lies in it.
  hold(
    'root_ro',
    isOn('root_ro') === (stdout.includes('root is read-only') && !stdout.includes('sees the host')),
  );
  hold('sys_hidden', isOn('sys_hidden') === !stdout.includes('sees sys'));
  hold(
    'a file that is open to all is closed to it where its root or Landlock is on',
    (isOn('landlock') || isOn('root_ro')) === !stdout.includes('open to all'),
  );
  hold('env', isOn('env') === !/variables:.*(HOSTNAME|CI)\b/.test(stdout));
  hold('nofile', isOn('nofile') === stdout.includes('files: 1024'));

  const eat = 'head -c 100M /dev/zero | tail -c 100M | wc -c';
  const hog = await client.run({ command: ['/bin/sh', '-c', eat], limits: { memory: 32 << 20 }, isolation });
  hold('mem', isOn('mem') === !String(hog.stdout).includes('104857600'));
  const many =
    'i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done 2>/dev/null; echo all; kill $(jobs -p) 2>/dev/null';
  const forks = await client.run({ command: ['/bin/sh', '-c', many], limits: { max_pids: 16 }, isolation });
  hold('pids', (isOn('pids') || isDegraded('pids')) === !String(forks.stdout).includes('all'));

  const sleeper = `sleep ${mark} > /dev/null 2>&1`;
  const tree = await client.spawn({
    command: ['/bin/sh', '-c', `(setsid ${sleeper} &); ${sleeper}`],
    isolation,
  });
  await client.call('KILL', { id: tree.id, grace_ms: 0 });
  await client.call('WAIT', { id: tree.id });
  const left = readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${mark}\0`);
    } catch {
      return false;
    }
  });
  hold('kill: nothing of a killed agent is left', left.length === 0);
} finally {
  await kernel.close();
}

for (const strength of ['reduced', 'least']) {
  const { status, stdout } = clove('run', '--require', strength, '--memory', '64M', '--', '/bin/echo', 'ran');
  const isHeld =
    !lacking.includes('mem') && (strength === 'least' || report.strength !== 'none') && stdout === 'ran\n';
  hold(
    `a limit that is named holds under --require ${strength}, or nothing runs`,
    isHeld || (status === 125 && stdout === ''),
  );
}

for (const strength of ['full', 'reduced', 'least']) {
  const out = mkdtempSync(path.join(tmpdir(), 'clove-docker-run-'));
  const run = clove('bench', 'run', 'drug-discovery', '--quick', '--require', strength, '--runs-dir', out);
  console.log(
    `\nmain job, --require ${strength}: exit status ${run.status}\n${`${run.stdout}${run.stderr}`.trim().slice(-1500)}`,
  );
  const possible =
    strength === 'least' || (strength === 'full' ? lacking.length === 0 : report.strength !== 'none');
  hold(
    `the main job with --require ${strength} ${possible ? 'completes' : 'is refused, by name'}`,
    possible ? run.status === 0 : run.status !== 0 && /sandbox|SANDBOX/.test(run.stderr + run.stdout),
  );
  rmSync(out, { recursive: true, force: true });
}
console.log(failures.length === 0 ? '\nall of it is so' : `\nnot so: ${failures.join('; ')}`);
process.exit(failures.length === 0 ? 0 : 1);
