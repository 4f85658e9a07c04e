// Shared by the tests of templates: a stage, templates with their channels, and agents of them.
import { closeSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import path from 'node:path';
import {
  endSpares,
  launch,
  layersOffInTemplate,
  openChannel,
  type Sandbox,
  stageZygote,
  ZYGOTE_OPEN_FILES,
  ZYGOTE_READY,
  ZYGOTE_TARGET,
  type ZygoteRuntime,
  zygoteProgram,
} from './index.ts';
import {
  type Outcome,
  readAll,
  type SpecChanges,
  TEST_UID,
  temporaryFolder,
  testSpec,
} from './sandbox-testing.ts';

/** Users of one file alone, beyond the one of the other tests. */
export const TEMPLATE_UID = TEST_UID + 100_000_000;
export const NODE = '/opt/node/bin/node';
export const PYTHON = '/usr/bin/python3';

export interface Template {
  readonly sandbox: Sandbox;
  readonly runtime: ZygoteRuntime;
  readonly channel: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
}

let scripts: string;
let stage: string;
let users = 0;
const templates: Template[] = [];
const usersOf = new Map<Sandbox, number>();

/** Before anything else. */
export async function prepareTemplates(): Promise<void> {
  scripts = temporaryFolder();
  stage = temporaryFolder();
  await stageZygote(stage);
}

export function mounts() {
  return [
    { source: stage, target: ZYGOTE_TARGET, readonly: true },
    { source: process.execPath, target: NODE, readonly: true },
    { source: scripts, target: '/opt/scripts', readonly: true },
  ];
}

/** Its path inside. */
export function script(name: string, source: string): string {
  writeFileSync(path.join(scripts, name), source, { mode: 0o644 });
  return `/opt/scripts/${name}`;
}

export async function startTemplate(
  runtime: ZygoteRuntime,
  preload: readonly string[] = [],
  warmUp: readonly string[] = [],
): Promise<Template> {
  const { ours, theirs } = openChannel();
  const program = zygoteProgram(runtime, runtime === 'node' ? NODE : PYTHON, { preload, warmUp });
  const sandbox = await launch({
    ...testSpec(program.argv, {
      mounts: mounts(),
      limits: { memoryBytes: 2 ** 30, maxOpenFiles: ZYGOTE_OPEN_FILES, fileSizeBytes: null },
      disable: layersOffInTemplate(),
      require: ['uid', 'caps', 'nnp', 'seccomp', 'mntns', 'pidns', 'netns', 'root_ro'],
    }),
    env: { PATH: '/usr/bin:/bin', ...program.env },
    stdin: theirs,
    uid: TEMPLATE_UID,
    gid: TEMPLATE_UID,
    zygote: { role: 'template' },
  });
  closeSync(theirs);
  let stdout = '';
  let stderr = '';
  new Socket({ fd: sandbox.stderrFd as number }).on('data', (part) => {
    stderr += String(part);
  });
  await new Promise<void>((resolve, reject) => {
    new Socket({ fd: sandbox.stdoutFd as number }).on('data', (part) => {
      stdout += String(part);
      if (stdout.includes(ZYGOTE_READY)) resolve();
    });
    void sandbox.exited.then(() => reject(new Error(`the template ended: ${stderr}`)));
  });
  const template = { sandbox, runtime, channel: ours, stdout: () => stdout, stderr: () => stderr };
  templates.push(template);
  return template;
}

export async function start(
  template: Template,
  file: string,
  args: readonly string[] = [],
  changes: SpecChanges = {},
  spares = 0,
): Promise<Sandbox> {
  users += 1;
  const uid = TEMPLATE_UID + users;
  const executable = template.runtime === 'node' ? NODE : PYTHON;
  const sandbox = await launch({
    ...testSpec([executable, file, ...args], { mounts: mounts(), ...changes }),
    uid,
    gid: uid,
    zygote: { role: 'forked', channelFd: template.channel, uid: TEMPLATE_UID, gid: TEMPLATE_UID, spares },
  });
  usersOf.set(sandbox, uid);
  return sandbox;
}

/** Host user of an agent. */
export function userOf(sandbox: Sandbox): number {
  return usersOf.get(sandbox) as number;
}

export async function run(
  template: Template,
  file: string,
  args: readonly string[] = [],
  changes: SpecChanges = {},
  spares = 0,
): Promise<Outcome> {
  const sandbox = await start(template, file, args, changes, spares);
  const [exit, stdout, stderr] = await Promise.all([
    sandbox.exited,
    readAll(sandbox.stdoutFd),
    readAll(sandbox.stderrFd),
  ]);
  return { ...exit, sandbox, stdout, stderr };
}

/** Nobody asks it for an agent any more. */
export function closeTemplate(template: Template): void {
  templates.splice(templates.indexOf(template), 1);
  closeSync(template.channel);
  endSpares(TEMPLATE_UID);
}

export async function endTemplates(): Promise<void> {
  endSpares(TEMPLATE_UID);
  for (const { sandbox, channel } of templates) {
    sandbox.kill();
    await sandbox.exited;
    closeSync(channel);
  }
}
