/** Container runtimes that start a bundle (runc, crun), for bench/micro/spawn.ts: /bin/true of this system, read-only, with what `spec` proposes. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

interface OciConfig {
  process: { args: string[]; terminal: boolean };
  root: { path: string; readonly: boolean };
  mounts: { destination: string; type: string; source: string; options: string[] }[];
}

/** What makes the arguments of one run after the other, with a bundle in `folder`; or, where the runtime does not run here, what it says. */
export function ociRuns(program: string, folder: string): (() => readonly string[]) | string {
  const bundle = join(folder, program);
  mkdirSync(join(bundle, 'rootfs'), { recursive: true });
  for (const name of ['usr', 'proc', 'dev', 'sys']) mkdirSync(join(bundle, 'rootfs', name));
  for (const name of ['bin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(bundle, 'rootfs', name));
  execFileSync(program, ['spec'], { cwd: bundle });
  const file = join(bundle, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as OciConfig;
  config.process.args = ['/bin/true'];
  config.process.terminal = false;
  config.root = { path: 'rootfs', readonly: true };
  config.mounts.push({ destination: '/usr', type: 'bind', source: '/usr', options: ['rbind', 'ro'] });
  writeFileSync(file, JSON.stringify(config));
  let serial = 0;
  const next = () => {
    serial += 1;
    const name = `clove-peer-${process.pid}-${serial}`;
    return ['--root', join(folder, `${program}-state`), 'run', '--bundle', bundle, name];
  };
  const { status, stderr } = spawnSync(program, next(), { encoding: 'utf8' });
  return status === 0 ? next : `${program} does not run here: ${stderr.trim()}`;
}
