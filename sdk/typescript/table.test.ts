import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { FIRST_CLIENT_ID as KERNEL_FIRST_CLIENT_ID } from '../../kernel/identity.ts';
import { SYSCALLS } from '../../kernel/syscalls/table.ts';
import { CloveClient } from './client.ts';
import { FIRST_CLIENT_ID, LONG_SYSCALLS, RAW_SYSCALLS } from './syscall-client.ts';
import type { SyscallName, SyscallRequest } from './types.ts';

/** The friendly method of each syscall. A syscall without one does not compile. */
const METHODS: Record<SyscallName, keyof CloveClient> = {
  NOOP: 'echo',
  THINK: 'think',
  LLM_REPORT: 'reportTokens',
  EXEC: 'exec',
  HTTP: 'http',
  DOWNLOAD: 'download',
  ASYNC_POLL: 'pollAsync',
  READ: 'readFile',
  WRITE: 'writeFile',
  SPAWN: 'spawn',
  KILL: 'kill',
  LIST: 'list',
  PAUSE: 'pause',
  RESUME: 'resume',
  WAIT: 'wait',
  LOGS: 'logs',
  RELOAD: 'reload',
  NOTIFY: 'notify',
  WAIT_READY: 'waitReady',
  GROUP_SET: 'setGroup',
  GROUP_LIST: 'groups',
  GROUP_REMOVE: 'removeGroup',
  SEND: 'send',
  RECV: 'receive',
  BROADCAST: 'broadcast',
  REGISTER: 'register',
  STORE: 'store',
  FETCH: 'fetch',
  DELETE: 'delete',
  KEYS: 'keys',
  CAS: 'cas',
  WATCH: 'watch',
  GET_PERMS: 'permissions',
  SET_PERMS: 'setPermissions',
  SUBSCRIBE: 'subscribe',
  UNSUBSCRIBE: 'unsubscribe',
  POLL_EVENTS: 'pollEvents',
  EMIT: 'emit',
  RECORD_START: 'startRecording',
  RECORD_STOP: 'stopRecording',
  RECORD_STATUS: 'recordingStatus',
  REPLAY_START: 'startReplay',
  REPLAY_STATUS: 'replayStatus',
  SET_QUOTA: 'setQuota',
  GET_QUOTA: 'quota',
  TASK_CREATE: 'createTask',
  TASK_ASSIGN: 'assignTask',
  TASK_STATUS: 'task',
  TASK_COMPLETE: 'completeTask',
  TASK_LIST: 'tasks',
  TUNNEL_CONNECT: 'connectTunnel',
  TUNNEL_DISCONNECT: 'disconnectTunnel',
  TUNNEL_STATUS: 'tunnelStatus',
  TUNNEL_LIST_REMOTES: 'remoteAgents',
  TUNNEL_CONFIG: 'configureTunnel',
  GET_AUDIT_LOG: 'auditLog',
  SET_AUDIT_CONFIG: 'setAuditConfig',
  AUDIT_QUERY: 'auditQuery',
  AUDIT_VERIFY: 'auditVerify',
  WORLD_CREATE: 'createWorld',
  WORLD_DESTROY: 'destroyWorld',
  WORLD_LIST: 'worlds',
  WORLD_JOIN: 'joinWorld',
  WORLD_LEAVE: 'leaveWorld',
  WORLD_EVENT: 'worldEvent',
  WORLD_STATE: 'worldState',
  WORLD_SNAPSHOT: 'snapshotWorld',
  WORLD_RESTORE: 'restoreWorld',
  WORLD_DIFF: 'diffWorld',
  WORLD_BRANCH: 'branchWorld',
  WORLD_ADVANCE: 'advanceWorld',
  WORLD_WAIT: 'waitInWorld',
  WORLD_CHECKPOINT: 'checkpoint',
  METRICS_SYSTEM: 'systemMetrics',
  METRICS_AGENT: 'agentMetrics',
  METRICS_ALL_AGENTS: 'allAgentMetrics',
  METRICS_CGROUP: 'cgroupMetrics',
  HELLO: 'hello',
  EXIT: 'exit',
};

it('every syscall of the table has a method, and no method stands for two', () => {
  const methods = SYSCALLS.map(({ name }) => METHODS[name]);
  expect(new Set(methods).size).toBe(SYSCALLS.length);
  for (const method of methods) expect(CloveClient.prototype[method]).toBeTypeOf('function');
});

it('the table and the client agree on which payloads are raw', () => {
  const raw = SYSCALLS.filter((definition) => definition.raw === true).map(({ name }) => name);
  expect(new Set(raw)).toEqual(RAW_SYSCALLS);
});

it('the kernel and the client agree on which ids are those of agents', () => {
  expect(FIRST_CLIENT_ID).toBe(KERNEL_FIRST_CLIENT_ID);
});

it('what the client sends on connections of their own may wait, and is no matter of which connection asks', () => {
  expect([...LONG_SYSCALLS].every((name) => SYSCALLS.some((definition) => definition.name === name))).toBe(
    true,
  );
});

it('requests are typed by the table', () => {
  const send: SyscallRequest<'SEND'> = { to_name: 'x', message: 1 };
  // @ts-expect-error not a field of this type
  const wrong: SyscallRequest<'SEND'> = { to: 'x' };
  expect([send, wrong]).toHaveLength(2);
});

it('a program that uses the client loads nothing of the kernel but the protocol, and no package', async () => {
  const root = path.resolve(import.meta.dirname, '../..');
  const script = `
    import { registerHooks } from 'node:module';
    const loaded = [];
    registerHooks({ load: (url, context, next) => { loaded.push(url); return next(url, context); } });
    await import(process.argv[1]);
    console.log(JSON.stringify(loaded));
  `;
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--input-type=module',
    '-e',
    script,
    path.join(root, 'sdk/typescript/index.ts'),
  ]);
  const loaded = (JSON.parse(stdout) as string[]).map((url) =>
    url.startsWith('file:') ? path.relative(root, new URL(url).pathname) : url,
  );
  expect(loaded.length).toBeGreaterThan(5);
  for (const module of loaded) {
    expect(module).toMatch(
      /^(node:\w+|sdk\/typescript\/[\w-]+\.ts|kernel\/(protocol\/\w+|wire\/codec)\.ts|errors\/\w+\.ts)$/,
    );
  }
});
