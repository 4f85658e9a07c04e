import type { Permission } from '../syscalls/define.ts';

/** What a level or a custom grant switches as one. */
export const FLAGS = ['exec', 'read', 'write', 'think', 'spawn', 'http'] as const;
export type Flag = (typeof FLAGS)[number];

/**
 * Which switch a permission hangs on.
 * - `anybody`: no grant needed.
 * - `base`: every level has it; only a list of syscalls takes it away.
 * - a flag: can_exec, can_read …
 * - `operator`: of no level. An agent holds it only where it is granted by name.
 */
export type Governor = 'anybody' | 'base' | 'operator' | Flag;

export const GOVERNORS: Readonly<Record<Permission, Governor>> = {
  none: 'anybody',
  'agents.spawn': 'spawn',
  'agents.control': 'spawn',
  'agents.list': 'spawn',
  // Not only its own.
  'agents.all': 'operator',
  'ipc.send': 'base',
  'ipc.receive': 'base',
  'ipc.register': 'base',
  'state.read': 'base',
  'state.write': 'base',
  'tasks.create': 'base',
  'tasks.work': 'base',
  'tasks.read': 'base',
  'files.read': 'read',
  'files.write': 'write',
  exec: 'exec',
  'events.subscribe': 'base',
  'events.emit': 'base',
  'metrics.self': 'base',
  'metrics.all': 'operator',
  http: 'http',
  think: 'think',
  'permissions.read': 'base',
  'permissions.set': 'base',
  'audit.read': 'operator',
  'audit.configure': 'operator',
  'recording.control': 'operator',
  // Of a world that is its business: one it was started in, or made, or that is open to all.
  'worlds.use': 'base',
  'worlds.manage': 'operator',
  'tunnel.read': 'operator',
  'tunnel.control': 'operator',
};

export const BLOCKED_PATHS: readonly string[] = [
  '/etc/shadow',
  '/etc/passwd',
  '/etc/gshadow',
  '/etc/shadow-',
  '/etc/passwd-',
  '/etc/gshadow-',
  '~/.ssh',
  '~/.gnupg',
  '~/.aws',
  '~/.config/gcloud',
  '/root',
  '*/.env',
  '*/.git/config',
  '*/credentials*',
  '*/secrets*',
  '*/*token*',
  '*/*password*',
  '/proc/*/environ',
  '/proc/*/mem',
  '/proc/kcore',
  '/run/docker.sock',
  '/var/run/docker.sock',
];

/** The program in a pipeline or a device behind `>` is met where a shell runs them: as the command it is. */
export const BLOCKED_COMMANDS: readonly string[] = [
  'rm -rf /',
  'rm -rf ~',
  'rm -rf /*',
  'rm -fr /',
  'rm -fr ~',
  'rm -fr /*',
  'sudo',
  'su',
  'chmod 777',
  'dd if=',
  'mkfs*',
  'shutdown',
  'reboot',
  'init 0',
  'poweroff',
];
