import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, callingAgent, type TestClient, TestKernel, until } from '../fixture.ts';
import { AGENT_DEFAULTS } from '../permissions/permissions.ts';
import type { SyscallName } from '../protocol/opcodes.ts';
import { AgentConnection } from './agent-connection.ts';
import { SYSCALLS } from './table.ts';

let kernel: TestKernel;
let client: TestClient;
const started: AgentConnection[] = [];

beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
});
afterAll(() => kernel.close());
afterEach(async () => {
  for (const agent of started.splice(0)) {
    await agent.close();
    await client.call('KILL', { id: agent.id, grace_ms: 0 });
  }
});

let serial = 0;
/** An idle agent, of the operator or of another agent. */
async function spawn(
  permissions?: unknown,
  more: object = {},
  parent: TestClient = client,
): Promise<AgentConnection> {
  serial += 1;
  const agent = await AgentConnection.spawn(kernel, parent, `subject-${serial}`, {
    ...(permissions === undefined ? {} : { permissions }),
    ...more,
  });
  started.push(agent);
  return agent;
}

/** What needs no permission: it gives nothing but what is the caller's own already. */
const ANYBODYS = ['ASYNC_POLL', 'EXIT', 'HELLO', 'NOOP', 'NOTIFY'];

const FORBIDDEN = (rule: string | RegExp) => ({
  success: false,
  code: 'FORBIDDEN',
  details: { rule: typeof rule === 'string' ? rule : expect.stringMatching(rule) },
});

describe('GET_PERMS', () => {
  it('answers with level, lists and the whole object, for the caller', async () => {
    const agent = await spawn('standard');
    const answer = await agent.call('GET_PERMS');
    expect(answer).toMatchObject({
      success: true,
      agent_id: agent.id,
      level: 'standard',
      paths: ['/**'],
      commands: [],
      domains: [],
      permissions: {
        level: 'standard',
        can_exec: false,
        can_read: true,
        can_write: true,
        can_think: true,
        can_spawn: false,
        can_http: false,
        exec: [],
        network: [],
        http_methods: [],
        llm: { max_tokens: 0, max_calls: 0, tokens_used: 0, calls_made: 0 },
        max_exec_time_ms: 30_000,
      },
    });
    expect(answer.permissions.filesystem.blocked).toEqual(
      expect.arrayContaining(['/etc/passwd', '*/.env', '/work/.ssh']),
    );
    expect(answer.permissions.blocked_commands).toContain('sudo');
  });

  it('needs no request, and tells an operator’s client that it may do everything', async () => {
    const text = await client.callText(0x40, '');
    expect(JSON.parse(text)).toMatchObject({
      level: 'unrestricted',
      commands: ['*'],
      domains: ['*'],
      paths: ['/**'],
    });
  });

  it('is of others for those they answer to', async () => {
    const agent = await spawn('sandboxed');
    const other = await spawn();
    expect(await client.call('GET_PERMS', { agent_id: agent.id })).toMatchObject({
      agent_id: agent.id,
      level: 'sandboxed',
      paths: ['/tmp/**', '/home/**', '/work/**'],
    });
    for (const agent_id of [agent.id, 9999]) {
      expect(await other.call('GET_PERMS', { agent_id })).toMatchObject(FORBIDDEN('permissions.not-yours'));
    }
    expect(await client.call('GET_PERMS', { agent_id: 9999 })).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('answers with what SET_PERMS takes', async () => {
    const agent = await spawn({ exec: ['ls'], filesystem: { read: ['/tmp/**'] }, llm: { max_calls: 3 } });
    const { permissions, digest } = await agent.call('GET_PERMS');
    expect(await agent.call('SET_PERMS', { permissions })).toMatchObject({ success: true, digest });
  });
});

describe('SET_PERMS', () => {
  it('of an operator’s client on itself succeeds as existing clients expect', async () => {
    const fresh = await kernel.connect();
    const { agent_id } = await fresh.call('HELLO');
    expect(await fresh.call('SET_PERMS', { level: 'unrestricted' })).toMatchObject({
      success: true,
      agent_id,
    });
    expect(await fresh.call('EXEC', { command: 'echo yes', async: false })).toMatchObject({ success: true });
    await fresh.close();
  });

  it('of an operator’s client on itself is kept to until it is undone', async () => {
    const file = `${kernel.folder}/own.txt`;
    const fresh = await kernel.connect();
    expect(await fresh.call('SET_PERMS', { level: 'readonly' })).toMatchObject({ level: 'readonly' });
    expect(await fresh.call('WRITE', { path: file, content: 'x' })).toMatchObject({
      success: false,
      error: 'Permission denied: path not allowed for writing',
      bytes_written: 0,
    });
    expect(await fresh.call('READ', { path: '/etc/passwd' })).toMatchObject({
      error: 'Permission denied: path not allowed for reading',
      details: { rule: 'path.blocked:/etc/passwd' },
    });
    expect(await client.call('WRITE', { path: file, content: 'x' })).toMatchObject({ success: true });
    await fresh.call('SET_PERMS', { level: 'unrestricted' });
    expect(await fresh.call('WRITE', { path: file, content: 'y' })).toMatchObject({ success: true });
    await fresh.close();
  });

  it('of an agent on itself only ever takes away', async () => {
    const agent = await spawn();
    for (const request of [
      { level: 'unrestricted' },
      { level: 'unrestricted', agent_id: agent.id },
      { permissions: { can_spawn: true } },
      { permissions: { network: ['*'], http_methods: ['*'], exec: ['*'] } },
      { permissions: { grants: ['metrics.all'] } },
    ]) {
      expect(await agent.call('SET_PERMS', request)).toMatchObject(FORBIDDEN(/^permissions\.widen:/));
    }
    expect(await agent.call('GET_PERMS')).toMatchObject({ level: 'default' });
    expect(await agent.call('SET_PERMS', { level: 'readonly' })).toMatchObject({ level: 'readonly' });
    expect(await agent.call('WRITE', { path: '/tmp/x', content: '' })).toMatchObject({ code: 'FORBIDDEN' });
    expect(await (await agent.again()).call('EXEC', { command: 'true' })).toMatchObject({
      error: 'Permission denied: command not allowed',
      exit_code: -1,
    });
    expect(await agent.call('SET_PERMS', { level: 'default' })).toMatchObject(
      FORBIDDEN('permissions.widen:can_exec'),
    );
  });

  it('of an agent on its parent, on a sibling, on ids to come is refused in the same words', async () => {
    const agent = await spawn('unrestricted');
    const sibling = await spawn();
    const { agent_id: operator } = await client.call('HELLO');
    for (const agent_id of [sibling.id, operator, 9999, 2 ** 30 + 5000]) {
      expect(await agent.call('SET_PERMS', { agent_id, level: 'minimal' })).toMatchObject({
        ...FORBIDDEN('permissions.not-yours'),
        error: "Permission denied: cannot modify other agent's permissions",
      });
    }
    expect(await sibling.call('GET_PERMS')).toMatchObject({ level: 'default' });
  });

  it('changes nothing where neither a level nor an object is given', async () => {
    const agent = await spawn('readonly');
    expect(await agent.call('SET_PERMS', {})).toMatchObject({
      success: true,
      agent_id: agent.id,
      level: 'readonly',
    });
  });

  it('refuses a level there is not and an object that is wrong anywhere, whole: what held holds', async () => {
    const agent = await spawn('readonly');
    const before = await agent.call('GET_PERMS');
    for (const request of [
      { level: 'godmode' },
      { level: '' },
      { permissions: { can_red: false } },
      { permissions: { exec: {} } },
      { permissions: { exec: ['ls; id'] } },
      { permissions: { filesystem: { read: ['/ok', 'data/*'] } } },
      { permissions: { filesystem: { read: '/tmp/*' } } },
      { permissions: { network: ['http://a/'] } },
      { permissions: { llm: { max_calls: -1 } } },
      { permissions: { syscalls: { deny: ['NOTHING'] } } },
      { permissions: 'standard' },
    ]) {
      expect(await client.call('SET_PERMS', { agent_id: agent.id, ...request })).toMatchObject({
        success: false,
        code: 'BAD_REQUEST',
      });
    }
    expect(await agent.call('GET_PERMS')).toEqual(before);
  });

  it('does not begin the counting of anything anew', async () => {
    const agent = await spawn();
    kernel.running.kernel.quotas.charge(agent.id, { llmCalls: 2, llmTokens: 50 });
    await agent.call('SET_PERMS', { level: 'default' });
    await client.call('SET_PERMS', { agent_id: agent.id, level: 'unrestricted' });
    expect((await agent.call('GET_PERMS')).permissions.llm).toMatchObject({ tokens_used: 50, calls_made: 2 });
  });
});

describe('every syscall', () => {
  it('is checked: who is granted none is refused all else', async () => {
    const open = SYSCALLS.filter(({ permission }) => permission === 'none').map(({ name }) => name);
    expect(open.toSorted()).toEqual(ANYBODYS);
    const agent = await spawn({ syscalls: { allow: [] } });
    for (const { name } of SYSCALLS) {
      if (open.includes(name)) continue;
      for (const request of [
        {},
        { agent_id: agent.id, id: agent.id, path: '/tmp/x', key: 'k', url: 'http://a.example/' },
      ]) {
        expect(await agent.call(name, request), name).toMatchObject(
          FORBIDDEN(/^syscall\.(denied|not-granted):/),
        );
      }
    }
  });

  it('hangs on a switch: an agent by default is refused all that is about others', async () => {
    const agent = await spawn();
    const others = SYSCALLS.filter(({ permission }) => !AGENT_DEFAULTS.includes(permission));
    expect(others.length).toBeGreaterThan(10);
    for (const { name } of others) {
      expect(await agent.call(name, {}), name).toMatchObject(FORBIDDEN(`syscall.not-granted:${name}`));
    }
  });
});

describe('every refusal', () => {
  it('has a rule, an event for operators and no details for the agent but the rule', async () => {
    const watcher = await kernel.connect();
    await watcher.call('SUBSCRIBE', { event_types: ['SYSCALL_BLOCKED'] });
    const agent = await spawn({ exec: ['ls'], network: ['a.example'], syscalls: { deny: ['KEYS'] } });
    const calls: [SyscallName, object, string][] = [
      ['READ', { path: '/work/deep/er/.env' }, 'path.blocked:*/.env'],
      ['WRITE', { path: '/work/x/../token.txt' }, 'path.blocked:*/*token*'],
      ['EXEC', { command: 'ls; id' }, 'command.needs-shell'],
      ['EXEC', { argv: ['id'] }, 'command.not-granted:id'],
      ['SPAWN', { command: ['/bin/true'] }, 'syscall.not-granted:SPAWN'],
      ['KEYS', {}, 'syscall.denied:KEYS'],
      ['KILL', { id: 1 }, 'syscall.not-granted:KILL'],
      ['SET_PERMS', { level: 'unrestricted' }, 'permissions.widen:can_spawn'],
      ['METRICS_SYSTEM', {}, 'syscall.not-granted:METRICS_SYSTEM'],
    ];
    for (const [name, request, rule] of calls) {
      const answer = await agent.call(name, request);
      expect(answer, name).toMatchObject({ success: false, code: 'FORBIDDEN' });
      expect(answer.details).toEqual({ rule });
    }
    const { events } = await watcher.call('POLL_EVENTS', { max: 100 });
    expect(events.map(({ data }: Answer) => [data.syscall, data.rule, data.agent_id])).toEqual(
      calls.map(([name, , rule]) => [name, rule, agent.id]),
    );
    expect(events[0].data).toMatchObject({ object: '/work/deep/er/.env' });
    await watcher.close();
  });
});

describe('paths', () => {
  /** Files as the agent itself would make them. */
  async function prepare(agent: AgentConnection, script: string): Promise<void> {
    const { sandbox, plan } = kernel.running.kernel.agents.get(agent.id) ?? {};
    const handle = await sandbox?.exec({
      argv: ['/bin/sh', '-ec', script],
      env: plan?.sandbox.env ?? {},
      cwd: '/work',
      stdin: null,
      timeoutMs: 10_000,
    });
    expect(await handle?.exited).toMatchObject({ exitCode: 0 });
  }

  it('are those that are really opened, whatever links there are', async () => {
    const agent = await spawn('sandboxed');
    await prepare(
      agent,
      `mkdir -p /work/secret.d/ssh /tmp/open /work/.ssh; echo key > /work/.ssh/id; echo in > /tmp/open/in
       ln -s /work/.ssh /tmp/open/data; ln -s /work/.ssh/id /tmp/open/file; ln -s /work /tmp/open/up; ln -s /work/none /tmp/open/none`,
    );
    expect(await agent.call('READ', { path: '/tmp/open/in' })).toMatchObject({
      success: true,
      content: 'in\n',
    });
    expect(await agent.call('READ', { path: '/tmp/open/data/id' })).toMatchObject({
      ...FORBIDDEN('path.blocked:/work/.ssh'),
      content: '',
    });
    expect(await agent.call('READ', { path: '/tmp/open/up/.ssh/id' })).toMatchObject(
      FORBIDDEN('path.blocked:/work/.ssh'),
    );
    expect(await agent.call('READ', { path: '/tmp/open/file' })).toMatchObject({
      success: false,
      code: 'PATH_REFUSED',
    });
    expect(await agent.call('WRITE', { path: '/tmp/open/up/new', content: 'x' })).toMatchObject(
      FORBIDDEN('path.not-granted:write'),
    );
    expect(await agent.call('WRITE', { path: '/tmp/open/data/id', content: 'x' })).toMatchObject(
      FORBIDDEN('path.blocked:/work/.ssh'),
    );
    // Refused before anything was made, truncated or written.
    await prepare(agent, 'test ! -e /work/new; test "$(cat /work/.ssh/id)" = key');
  });

  it('cannot be changed between the look and the deed', async () => {
    const swapping = `
      mkdir -p /tmp/open /work/closed; echo open > /tmp/open/f; echo closed > /work/closed/f; ln -s /tmp/open /tmp/d; echo ready
      while :; do
        ln -s /work/closed /tmp/n; mv -T /tmp/n /tmp/d
        ln -s /tmp/open /tmp/n; mv -T /tmp/n /tmp/d
      done`;
    const agent = await spawn(
      { filesystem: { read: ['/tmp/**'], write: ['/tmp/**'] } },
      { command: ['/bin/sh', '-c', swapping] },
    );
    await until(async () => (await client.call('LOGS', { id: agent.id })).stdout === 'ready\n');
    const seen = new Set<string>();
    for (let n = 0; n < 300 || seen.size < 3; n += 1) {
      const read = await agent.call('READ', { path: '/tmp/d/f' });
      seen.add(read.success ? read.content : read.details.rule);
      const write = await agent.call('WRITE', { path: '/tmp/d/f', content: 'open\n' });
      if (!write.success) seen.add(write.details.rule);
    }
    expect([...seen].toSorted()).toEqual(['open\n', 'path.not-granted:read', 'path.not-granted:write']);
    await prepare(agent, 'test "$(cat /work/closed/f)" = closed');
  });

  it('are written where they may be: made, replaced, appended to', async () => {
    const agent = await spawn('sandboxed');
    expect(await agent.call('WRITE', { path: '/tmp/a', content: 'longer text' })).toMatchObject({
      success: true,
    });
    expect(await agent.call('WRITE', { path: '/tmp/a', content: 'short' })).toMatchObject({ success: true });
    expect(await agent.call('WRITE', { path: '/tmp/a', content: '+', mode: 'append' })).toMatchObject({
      success: true,
    });
    expect(await agent.call('READ', { path: '/tmp/../tmp/a' })).toMatchObject({ content: 'short+' });
    expect(await agent.call('WRITE', { path: '/work/a', content: '' })).toMatchObject(
      FORBIDDEN('path.not-granted:write'),
    );
    expect(await agent.call('READ', { path: '/tmp/../etc/hosts' })).toMatchObject(
      FORBIDDEN('path.not-granted:read'),
    );
  });

  it('of operators’ clients that gave something up are judged on the host the same way', async () => {
    const { symlinkSync, mkdirSync } = await import('node:fs');
    const folder = `${kernel.folder}/host`;
    mkdirSync(`${folder}/in`, { recursive: true });
    mkdirSync(`${folder}/out`);
    writeFileSync(`${folder}/out/f`, 'kept');
    symlinkSync(`${folder}/out`, `${folder}/in/link`);
    const fresh = await kernel.connect();
    await fresh.call('SET_PERMS', {
      permissions: { filesystem: { read: [`${folder}/in/**`], write: [`${folder}/in/**`] } },
    });
    expect(await fresh.call('READ', { path: `${folder}/in/link/f` })).toMatchObject(
      FORBIDDEN('path.not-granted:read'),
    );
    expect(await fresh.call('WRITE', { path: `${folder}/in/link/f`, content: '' })).toMatchObject({
      code: 'FORBIDDEN',
    });
    expect(await fresh.call('WRITE', { path: `${folder}/in/link/new`, content: '' })).toMatchObject({
      code: 'FORBIDDEN',
    });
    expect(await fresh.call('WRITE', { path: `${folder}/in/f`, content: 'mine' })).toMatchObject({
      success: true,
    });
    expect(readFileSync(`${folder}/out/f`, 'utf8')).toBe('kept');
    expect(() => readFileSync(`${folder}/out/new`)).toThrow('ENOENT');
    await fresh.close();
  });
});

describe('commands', () => {
  it('are run by their argv, inside, and nothing an agent has can pass for them', async () => {
    const agent = await spawn(
      { exec: ['id', 'echo'], max_exec_time_ms: 5000 },
      { env: { PATH: '/work/bin:/usr/bin:/bin', BASH_ENV: '/work/x', LD_PRELOAD: '/work/x.so' } },
    );
    for (const [path, content] of [
      ['/work/id', '#!/bin/sh\necho fake'],
      ['/tmp/id', '#!/bin/sh\necho fake'],
    ] as const) {
      await agent.call('WRITE', { path, content });
    }
    const uid = expect.stringMatching(/^uid=[1-9]\d*/);
    expect(await agent.call('EXEC', { command: 'id' })).toMatchObject({ success: true, stdout: uid });
    expect(await agent.call('EXEC', { argv: ['/usr/bin/id'] })).toMatchObject({ success: true, stdout: uid });
    expect(await agent.call('EXEC', { command: 'echo "a b"  c' })).toMatchObject({ stdout: 'a b c\n' });
    expect(await agent.call('EXEC', { argv: ['echo', '$(id); id'] })).toMatchObject({
      stdout: '$(id); id\n',
    });
    for (const request of [
      { command: 'echo x; id -u' },
      { command: 'echo $(id)' },
      { command: 'echo `id`' },
      { command: 'cat /etc/hosts #id' },
      { command: '\\i\\d' },
      { command: 'env -S id' },
      { command: 'PATH=/work id' },
      { command: '/work/id' },
      { argv: ['./id'], cwd: '/tmp' },
      { argv: ['sh', '-c', 'id'] },
    ]) {
      expect(await agent.call('EXEC', request), JSON.stringify(request)).toMatchObject({
        ...FORBIDDEN(/^command\./),
        error: 'Permission denied: command not allowed',
        exit_code: -1,
      });
    }
    expect(await agent.call('EXEC', { command: 'id', cwd: '/tmp; touch /tmp/owned' })).toMatchObject({
      success: false,
    });
    expect(await agent.call('READ', { path: '/tmp/owned' })).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('run no longer than their caller may have them run', async () => {
    const agent = await spawn({ exec: ['sleep'], max_exec_time_ms: 50 });
    expect(await agent.call('EXEC', { command: 'sleep 30', timeout: 20 })).toMatchObject({
      success: false,
      timed_out: true,
      code: 'TIMEOUT',
      error: 'command timeout after 0.05 s',
    });
  });

  it('that are blocked stay so for who may run all others', async () => {
    const agent = await spawn({ exec: ['*'] });
    expect(await agent.call('EXEC', { command: 'echo a | tr a b' })).toMatchObject({ stdout: 'b\n' });
    expect(await agent.call('EXEC', { command: 'echo a; "su"  root' })).toMatchObject(
      FORBIDDEN('command.blocked:su'),
    );
    expect(await agent.call('EXEC', { argv: ['/usr/bin/env', 'reboot'] })).toMatchObject(
      FORBIDDEN('command.blocked:reboot'),
    );
  });
});

describe('hosts', () => {
  it('are those granted, by the words existing clients know', async () => {
    const agent = await spawn({
      network: ['good.example'],
      http_methods: ['GET'],
      filesystem: { write: ['/tmp/**'] },
    });
    for (const [name, request, rule, error] of [
      ['HTTP', { url: 'http://good.example@evil.example/' }, 'http.credentials', 'HTTP not allowed'],
      [
        'HTTP',
        { url: 'http://evil.example/' },
        'domain.not-granted:evil.example',
        'domain not in whitelist: evil.example',
      ],
      [
        'HTTP',
        { url: 'http://good.example/', method: 'PUT' },
        'method.not-granted:PUT',
        'HTTP method not allowed',
      ],
      [
        'HTTP',
        { url: 'http://169.254.169.254/latest' },
        'domain.not-granted:169.254.169.254',
        'domain not in whitelist',
      ],
      [
        'DOWNLOAD',
        { url: 'http://good.example/', path: '/work/x' },
        'path.not-granted:write',
        'DOWNLOAD not allowed',
      ],
      [
        'DOWNLOAD',
        { url: 'http://good.example/', path: '/tmp/.env' },
        'path.blocked:*/.env',
        'DOWNLOAD not allowed',
      ],
    ] as const) {
      const answer = await agent.call(name, { async: false, ...request });
      expect(answer, request.url).toMatchObject(FORBIDDEN(rule));
      expect(answer.error).toContain(`Permission denied: ${error}`);
    }
    const other = await spawn({ network: ['*'], http_methods: ['*'], can_write: false });
    expect(await other.call('DOWNLOAD', { url: 'http://good.example/', path: '/tmp/x' })).toMatchObject(
      FORBIDDEN('syscall.not-granted:WRITE'),
    );
    expect(await (await spawn()).call('HTTP', { url: 'http://good.example/' })).toMatchObject({
      ...FORBIDDEN('syscall.not-granted:HTTP'),
      error: 'Permission denied: HTTP not allowed',
    });
  });
});

describe('quotas', () => {
  it('are an operator’s to set, and an agent’s only to tighten', async () => {
    const agent = await spawn();
    expect(
      await client.call('SET_QUOTA', { agent_id: agent.id, quotas: { messages: 2, llm_tokens: 100 } }),
    ).toMatchObject({
      success: true,
      quotas: { messages: 2, llm_tokens: 100, agents: null, state_bytes: null },
      used: { messages: 0, agents: 0 },
    });
    expect(await agent.call('SET_QUOTA', { quotas: { messages: 3 } })).toMatchObject(
      FORBIDDEN('quota.widen:messages'),
    );
    expect(await agent.call('SET_QUOTA', { quotas: { messages: null } })).toMatchObject(
      FORBIDDEN('quota.widen:messages'),
    );
    expect(await agent.call('SET_QUOTA', { quotas: {}, reset: true })).toMatchObject(
      FORBIDDEN('quota.widen:reset'),
    );
    expect(await agent.call('SET_QUOTA', { quotas: { agents: 0 } })).toMatchObject({
      quotas: { messages: 2, agents: 0 },
    });
    expect(await agent.call('GET_QUOTA')).toMatchObject({ agent_id: agent.id, quotas: { llm_tokens: 100 } });
    const other = await spawn();
    expect(await other.call('SET_QUOTA', { agent_id: agent.id, quotas: { messages: 0 } })).toMatchObject({
      code: 'FORBIDDEN',
    });
    expect(await client.call('SET_QUOTA', { quotas: { messages: 1 } })).toMatchObject({
      code: 'BAD_REQUEST',
    });
    expect(await client.call('SET_QUOTA', { agent_id: agent.id, quotas: { mesages: 1 } })).toMatchObject({
      code: 'BAD_REQUEST',
    });
  });

  it('of messages, state and calls are answered with OVERLOAD when they are used up', async () => {
    const agent = await spawn();
    await client.call('SET_QUOTA', { agent_id: agent.id, quotas: { messages: 2, state_bytes: 2000 } });
    for (let n = 0; n < 2; n += 1) {
      expect(await agent.call('SEND', { to: agent.id, message: n })).toMatchObject({ success: true });
    }
    const used = { success: false, code: 'OVERLOAD' };
    expect(await agent.call('SEND', { to: agent.id, message: 2 })).toMatchObject({
      ...used,
      details: { rule: 'quota.exceeded:messages' },
    });
    expect(await agent.call('STORE', { key: 'a', value: 'x'.repeat(1000) })).toMatchObject({ success: true });
    expect(await agent.call('STORE', { key: 'b', value: 'x'.repeat(1000) })).toMatchObject({
      ...used,
      details: { rule: 'quota.exceeded:state_bytes' },
    });
    await agent.call('DELETE', { key: 'a' });
    expect(await agent.call('STORE', { key: 'b', value: 'x'.repeat(1000) })).toMatchObject({ success: true });
    await client.call('SET_QUOTA', { agent_id: agent.id, quotas: { syscalls_per_second: 0 } });
    expect(await agent.call('FETCH', { key: 'a' })).toMatchObject({
      ...used,
      details: { rule: 'quota.exceeded:syscalls_per_second' },
    });
    await client.call('SET_QUOTA', {
      agent_id: agent.id,
      quotas: { syscalls_per_second: null },
      reset: true,
    });
    expect(await agent.call('SEND', { to: agent.id, message: 3 })).toMatchObject({ success: true });
  });
});

describe('a real agent', () => {
  it('meets the same walls from inside its sandbox', async () => {
    const exit = await client.run({
      permissions: 'standard',
      ...callingAgent([
        ['SET_PERMS', { level: 'unrestricted' }],
        ['EXEC', { command: 'id' }],
        ['READ', { path: '/etc/passwd' }],
        ['WRITE', { path: '/work/ok.txt', content: 'x' }],
        ['GET_PERMS', {}],
      ]),
    });
    const answers = JSON.parse(exit.stdout).map(({ answer }: Answer) => answer);
    expect(answers[0]).toMatchObject({ code: 'FORBIDDEN' });
    expect(answers[1]).toMatchObject({ details: { rule: 'syscall.not-granted:EXEC' } });
    expect(answers[2]).toMatchObject({ details: { rule: 'path.blocked:/etc/passwd' } });
    expect(answers[3]).toMatchObject({ success: true });
    expect(answers[4]).toMatchObject({ level: 'standard' });
  });
});
