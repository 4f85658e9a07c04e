import { mkdirSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type TestClient, TestKernel } from '../fixture.ts';
import { AgentConnection } from '../syscalls/agent-connection.ts';

const MIB = 2 ** 20;
let kernel: TestKernel;
let client: TestClient;
const started: AgentConnection[] = [];

beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
});
afterAll(() => kernel.close());
afterEach(async () => {
  for (const agent of started.splice(0)) await agent.close();
  for (const { id } of await client.call('LIST')) await client.call('KILL', { id, grace_ms: 0 });
});

let serial = 0;
async function spawn(more: object = {}, parent: TestClient = client): Promise<AgentConnection> {
  serial += 1;
  const agent = await AgentConnection.spawn(kernel, parent, `one-${serial}`, { ...more });
  started.push(agent);
  return agent;
}

const SLEEP = { command: ['/bin/sleep', '600'] };
const refusedBy = (rule: string | RegExp) => ({
  success: false,
  code: 'FORBIDDEN',
  details: { rule: typeof rule === 'string' ? rule : expect.stringMatching(rule) },
});

describe('an agent that may spawn', () => {
  it('gives a child what it has itself at most, and is answered with what it asked beyond that', async () => {
    const parent = await spawn({
      permissions: { can_spawn: true, exec: ['ls', 'sleep'], filesystem: { read: ['/work/**'] } },
    });
    for (const permissions of [
      'unrestricted',
      { can_spawn: true, exec: ['*'] },
      { filesystem: { read: ['/**'] } },
      { filesystem: { read: ['/work/**'] }, network: ['a.example'] },
      { filesystem: { read: ['/work/**'] }, grants: ['agents.all'] },
      { filesystem: { read: ['/work/**'] }, llm: { max_calls: 0 }, max_exec_time_ms: 0, exec: ['ls'] },
    ]) {
      expect(
        await parent.call('SPAWN', { ...SLEEP, permissions }),
        JSON.stringify(permissions),
      ).toMatchObject(refusedBy(/^permissions\.widen:/));
    }
    const limits = { memory: 64 * MIB, max_pids: 16, cpu: 0.25 };
    const child = await spawn(
      { limits, permissions: { exec: ['ls'], filesystem: { read: ['/work/a/**'] } } },
      parent,
    );
    expect(await child.call('GET_PERMS')).toMatchObject({ level: 'custom', commands: ['ls'] });
    expect(await child.call('SPAWN', SLEEP)).toMatchObject(refusedBy('syscall.not-granted:SPAWN'));
    const usual = await spawn({ limits }, parent);
    expect(await usual.call('GET_PERMS')).toMatchObject({
      commands: ['ls', 'sleep'],
      permissions: { can_spawn: false, filesystem: { read: ['/work/**'] } },
    });
    expect(await usual.call('READ', { path: '/work/.env' })).toMatchObject(refusedBy('path.blocked:*/.env'));
  });

  it('cannot have a child less walled in than itself', async () => {
    const parent = await spawn({ permissions: 'unrestricted' });
    for (const [request, rule] of [
      [{ network: true }, 'spawn.network'],
      [{ isolation: { profile: 'debug' } }, 'spawn.profile'],
      [{ sandboxed: false }, /^spawn\.layer:/],
      [{ isolation: { disable: ['seccomp'] } }, 'spawn.layer:seccomp'],
      [{ isolation: { allow_degraded: ['landlock'] } }, 'spawn.layer:landlock'],
      [{ isolation: { require: [] } }, /^spawn\.layer:/],
      [{ mounts: [{ source: '/etc', target: '/data' }] }, 'spawn.mount:/etc'],
      [{ mounts: [{ source: kernel.folder, target: '/data' }] }, /^spawn\.mount:/],
      [{ command: null, script: '/work/x.py', python: '/usr/bin/python3' }, 'spawn.interpreter'],
      [{ command: null, script: '/work/x.py', python: '../../bin/sh' }, 'spawn.interpreter'],
      [{ template: { runtime: 'python' } }, 'spawn.template'],
      [{ log_bytes: 16 * MIB }, 'spawn.limit:log_bytes'],
    ] as const) {
      expect(await parent.call('SPAWN', { ...SLEEP, ...request }), JSON.stringify(request)).toMatchObject(
        refusedBy(rule),
      );
    }
    expect(await parent.call('LIST')).toHaveLength(1);
  });

  it('cannot give a child more than it has, nor its children together', async () => {
    const parent = await spawn({
      permissions: 'unrestricted',
      limits: { memory: 64 * MIB, max_pids: 20, cpu: 0.5 },
    });
    for (const [limits, rule] of [
      [{ memory: 65 * MIB }, 'spawn.limit:memory'],
      [{ memory_mb: 100 }, 'spawn.limit:memory'],
      [{ max_pids: 21 }, 'spawn.limit:max_pids'],
      [{ cpu_percent: 51 }, 'spawn.limit:cpu'],
      [{ cpu_quota: 100_000 }, 'spawn.limit:cpu'],
      [{ swap: MIB }, 'spawn.limit:swap'],
      [{ tmpfs: 2 ** 30 }, 'spawn.limit:tmpfs'],
      [{ open_files: 100_000 }, 'spawn.limit:open_files'],
      [{ cpu_shares: 2048 }, 'spawn.limit:cpu_shares'],
    ] as const) {
      expect(await parent.call('SPAWN', { ...SLEEP, limits }), JSON.stringify(limits)).toMatchObject(
        refusedBy(rule),
      );
    }
    const half = { memory: 32 * MIB, max_pids: 10, cpu: 0.25 };
    const first = await spawn({ limits: half, permissions: 'unrestricted' }, parent);
    await spawn({ limits: { memory: 32 * MIB, max_pids: 5, cpu: 0.125 } }, parent);
    expect(
      await parent.call('SPAWN', { ...SLEEP, limits: { memory: 8 * MIB, max_pids: 2, cpu: 0.1 } }),
    ).toMatchObject(refusedBy('spawn.limit-of-all:memory'));
    // What a child's children get is taken out of the same.
    expect(await first.call('SPAWN', { ...SLEEP, limits: { ...half, memory: 33 * MIB } })).toMatchObject(
      refusedBy('spawn.limit:memory'),
    );
  });

  it('gives a child that names no limits the usual ones, but not more than its own', async () => {
    const parent = await spawn({
      permissions: 'unrestricted',
      limits: { memory: 64 * MIB, max_pids: 20, cpu: 0.5 },
    });
    const child = await spawn({}, parent);
    const { limits } = kernel.running.kernel.agents.get(child.id)?.plan.sandbox ?? {};
    expect(limits).toMatchObject({ memoryBytes: 64 * MIB, maxPids: 20, cpuQuotaUs: 50_000 });
  });

  it('gives a child that names no limits those it does without as little as itself', async () => {
    const requireOf = ({ id }: { readonly id: number }) =>
      kernel.running.kernel.agents.get(id)?.plan.sandbox.require ?? [];
    const isolation = { allow_degraded: ['mem', 'pids'] };
    const roomy = { memory: 512 * MIB, max_pids: 256, cpu: 4 };
    const parent = await spawn({ permissions: 'unrestricted', limits: roomy, isolation });
    expect(requireOf(parent)).not.toContain('mem');
    const child = await spawn({}, parent);
    expect(requireOf(child)).toEqual(requireOf(parent));
    const named = await spawn({ limits: { memory: 64 * MIB } }, parent);
    expect(requireOf(named).toSorted()).toEqual([...requireOf(parent), 'mem'].toSorted());
  });

  it('has as many children as it may, however they are started', async () => {
    const parent = await spawn({ permissions: { can_spawn: true, exec: ['*'], spawn: { max_agents: 2 } } });
    const small = { memory: 16 * MIB, max_pids: 8, cpu: 0.1 };
    const request = { ...SLEEP, limits: small };
    for (let n = 0; n < 5; n += 1) parent.send('SPAWN', request);
    const answers = [];
    for (let n = 0; n < 5; n += 1) answers.push(await parent.next());
    expect(answers.filter(({ success }) => success)).toHaveLength(2);
    expect(answers.filter(({ success }) => !success)).toMatchObject(
      Array(3).fill({ code: 'OVERLOAD', details: { rule: 'quota.exceeded:agents' } }),
    );
    await client.call('SET_PERMS', { agent_id: parent.id, level: 'unrestricted' });
    await client.call('SET_QUOTA', { agent_id: parent.id, quotas: { agents: 3 } });
    const third = await spawn({ limits: small, permissions: 'unrestricted' }, parent);
    expect(await third.call('SPAWN', request)).toMatchObject({ code: 'OVERLOAD' });
    expect(await client.call('GET_QUOTA', { agent_id: parent.id })).toMatchObject({ used: { agents: 3 } });
    await client.call('KILL', { id: third.id, grace_ms: 0 });
    expect(await parent.call('SPAWN', request)).toMatchObject({ success: true });
  });

  it('ends, stops and reads its own children and nobody else', async () => {
    const parent = await spawn({ permissions: 'unrestricted' });
    const child = await spawn({ limits: { memory: 16 * MIB, max_pids: 8, cpu: 0.1 } }, parent);
    const stranger = await spawn();
    expect((await parent.call('LIST')).map(({ id }: { id: number }) => id)).toEqual([parent.id, child.id]);
    for (const name of ['KILL', 'PAUSE', 'RESUME', 'WAIT', 'LOGS'] as const) {
      for (const target of [{ id: stranger.id }, { name: `one-${serial}` }, { id: 9999 }]) {
        expect(await parent.call(name, target), name).toMatchObject(refusedBy('agent.not-governed'));
      }
    }
    expect(await parent.call('PAUSE', { id: child.id })).toMatchObject({ success: true });
    expect(await parent.call('KILL', { id: child.id })).toMatchObject({ success: true });
    expect(await parent.call('WAIT', { id: child.id })).toMatchObject({ success: true, reason: 'killed' });
    expect(await client.call('LIST')).toHaveLength(2);
  });

  it('names scripts as it sees them, and the host’s are not among them', async () => {
    const secret = `${kernel.folder}/secret.sh`;
    writeFileSync(secret, 'echo host');
    const parent = await spawn({ permissions: 'unrestricted' });
    expect(await parent.call('SPAWN', { script: secret })).toMatchObject({ code: 'NOT_FOUND' });
    expect(await parent.call('SPAWN', { script: '/work/none.sh' })).toMatchObject({ code: 'NOT_FOUND' });
    const blind = await spawn({ permissions: { can_spawn: true, can_read: false, exec: ['*'] } });
    expect(await blind.call('SPAWN', { script: '/work/x.sh' })).toMatchObject(
      refusedBy('syscall.not-granted:READ'),
    );
    await parent.call('WRITE', { path: '/work/child.sh', content: 'echo "from $0"' });
    const answer = await parent.call('SPAWN', { script: '/work/child.sh' });
    expect(answer).toMatchObject({ success: true, script: { path: '/work/child.sh', mounted: 'copy' } });
    expect(await parent.call('WAIT', { id: answer.id })).toMatchObject({ exit_code: 0 });
    expect(await parent.call('LOGS', { id: answer.id })).toMatchObject({ stdout: 'from /work/child.sh\n' });
  });

  it('passes on mounts that it has, no more writable than they are', async () => {
    const folder = `${kernel.folder}/shared`;
    mkdirSync(`${folder}/deep`, { recursive: true });
    writeFileSync(`${folder}/deep/f`, 'content');
    const parent = await spawn({
      permissions: 'unrestricted',
      mounts: [{ source: folder, target: '/data' }],
    });
    const mount = { source: `${folder}/deep`, target: '/d' };
    for (const mounts of [
      [{ ...mount, readonly: false }],
      [{ ...mount, source: `${folder}/../shared2` }],
      [{ ...mount, source: `${folder}x` }],
      [{ ...mount, source: `${folder}/../..` }],
    ]) {
      expect(await parent.call('SPAWN', { ...SLEEP, mounts })).toMatchObject(refusedBy(/^spawn\.mount:/));
    }
    const answer = await parent.call('SPAWN', { command: ['/bin/cat', '/d/f'], mounts: [mount] });
    await parent.call('WAIT', { id: answer.id });
    expect(await parent.call('LOGS', { id: answer.id })).toMatchObject({ stdout: 'content' });
  });

  it('does not keep for its children what is taken from it', async () => {
    const parent = await spawn({ permissions: 'unrestricted' });
    const child = await spawn({ permissions: 'unrestricted' }, parent);
    await client.call('SET_PERMS', { agent_id: parent.id, level: 'readonly' });
    expect(await child.call('EXEC', { command: 'id' })).toMatchObject(refusedBy('syscall.not-granted:EXEC'));
    expect(await child.call('SPAWN', SLEEP)).toMatchObject(refusedBy('syscall.not-granted:SPAWN'));
    expect(await client.call('SET_PERMS', { agent_id: child.id, level: 'unrestricted' })).toMatchObject(
      refusedBy(/^permissions\.widen:/),
    );
  });

  it('sets the grants of its children, and no others’', async () => {
    const parent = await spawn({ permissions: 'unrestricted' });
    const child = await spawn({}, parent);
    expect(await parent.call('SET_PERMS', { agent_id: child.id, level: 'minimal' })).toMatchObject({
      level: 'minimal',
    });
    expect(await child.call('READ', { path: '/etc/hosts' })).toMatchObject(
      refusedBy('syscall.not-granted:READ'),
    );
    expect(await child.call('SET_PERMS', { agent_id: parent.id, level: 'minimal' })).toMatchObject(
      refusedBy('permissions.not-yours'),
    );
    expect(await parent.call('SET_QUOTA', { agent_id: child.id, quotas: { messages: 0 } })).toMatchObject({
      success: true,
    });
    expect(await child.call('SEND', { to: child.id, message: 1 })).toMatchObject({ code: 'OVERLOAD' });
  });
});

it('leaves nothing behind of a child that could not be started', async () => {
  const parent = await spawn({ permissions: { can_spawn: true, exec: ['*'], spawn: { max_agents: 1 } } });
  for (let n = 0; n < 3; n += 1) {
    expect(await parent.call('SPAWN', { command: ['/none/such'] })).toMatchObject({ code: 'EXEC_FAILED' });
  }
  expect(await parent.call('SPAWN', SLEEP)).toMatchObject({ success: true });
});
