import { expect } from 'vitest';
import { failure, type Row, row } from './row.ts';

const NUMBER = expect.any(Number);
const TEXT = expect.any(String);

const hello = {
  success: true,
  protocol_version: 1,
  kernel_version: TEXT,
  features: expect.objectContaining({
    llm_in_kernel: expect.any(Boolean),
    sys_think_stub: expect.any(Boolean),
    async_default_exec_http: expect.any(Boolean),
  }),
  version: TEXT,
  capabilities: expect.arrayContaining(['exec']),
  agent_id: NUMBER,
  uptime: NUMBER,
};

export const coreRows: readonly Row[] = [
  row(0x00, 'NOOP gives the bytes back', 'any bytes \u0001 ü', 'any bytes \u0001 ü'),
  row(0x00, 'nothing is nothing', '', ''),
  row(0xfe, 'HELLO {}', {}, hello),
  row(0xfe, 'HELLO without payload', '', hello),
  row(0xfe, 'HELLO, payload ignored', 'not json', hello),
  row(0xff, 'EXIT is seven bytes and no JSON', '', 'goodbye'),
  row(0x00, 'the connection is usable after EXIT', 'still', 'still'),
  row(0x13, 'an opcode that is not assigned', {}, failure('unknown opcode 0x13')),
  row(0xd0, 'one that was only planned', 'abc', failure('unknown opcode 0xD0')),

  row(
    0x01,
    'THINK without a model, no payload',
    '',
    failure('LLM not configured (set GEMINI_API_KEY)', { content: '' }),
  ),
  row(
    0x01,
    'THINK without a model',
    { prompt: 'x' },
    failure('LLM not configured (set GEMINI_API_KEY)', { content: '' }),
  ),
  row(0x01, 'THINK, malformed', '[', failure('invalid request', { content: '' })),
  row(0x01, 'THINK, array', [], failure('invalid request', { content: '' })),
  row(
    0xf0,
    'LLM_REPORT',
    { tokens: 12, success: true },
    { success: true, tokens: 12, quota_exceeded: false },
  ),
  row(0xf0, 'LLM_REPORT of nothing', {}, { success: true, tokens: 0, quota_exceeded: false }),
  row(
    0xf0,
    'LLM_REPORT with text for a number',
    { tokens: '5' },
    failure('invalid request', { quota_exceeded: false }),
  ),

  row(
    0x02,
    'EXEC, older client',
    { command: 'echo out; echo err >&2', async: false },
    {
      success: true,
      stdout: 'out\nerr\n',
      stderr: '',
      exit_code: 0,
      duration_ms: NUMBER,
    },
  ),
  row(
    0x02,
    'EXEC in a folder, newer client',
    { command: 'pwd', cwd: '/tmp', timeout: 30, async: false },
    {
      success: true,
      stdout: '/tmp\n',
    },
  ),
  row(0x02, 'EXEC that fails', { command: 'exit 3', async: false }, { success: false, exit_code: 3 }),
  row(
    0x02,
    'EXEC ended by a signal',
    { command: 'kill -9 $$', async: false },
    { success: false, exit_code: -1 },
  ),
  row(
    0x02,
    'EXEC over its time',
    { command: 'sleep 9', timeout: 0.2, async: false },
    {
      success: false,
      exit_code: -1,
      error: expect.stringContaining('timeout'),
    },
  ),
  row(
    0x02,
    'EXEC of what is not UTF-8',
    { command: "printf '\\377'", async: false },
    { success: true, stdout: '\ufffd' },
  ),
  row(
    0x02,
    'EXEC without async: answered when it is done',
    { command: 'echo x' },
    { success: true, stdout: 'x\n' },
  ),
  row(
    0x02,
    'EXEC async',
    { command: 'echo later', async: true, request_id: 4711 },
    {
      success: true,
      async: true,
      request_id: 4711,
      status: 'accepted',
    },
  ),
  row(
    0x02,
    'EXEC without a command',
    {},
    failure('command required', { stdout: '', stderr: '', exit_code: -1 }),
  ),
  row(0x02, 'EXEC, malformed', '{', failure('invalid request', { exit_code: -1 })),
  row(0x02, 'EXEC, number', 7, failure('invalid request', { exit_code: -1 })),
  row(0x02, 'EXEC not permitted', { command: 'id' }, failure('Permission denied: command not allowed'), {
    as: 'agent',
  }),
  row(0x80, 'ASYNC_POLL: the answer as text, and taken apart', { max: 10, timeout_ms: 20_000 }, (answer) => {
    expect(answer).toMatchObject({ success: true, count: 1 });
    const [result] = answer.results;
    expect(result).toMatchObject({
      request_id: 4711,
      opcode: 2,
      opcode_name: 'EXEC',
      success: true,
      error: null,
      result: { stdout: 'later\n', exit_code: 0 },
    });
    expect(JSON.parse(result.payload)).toEqual(result.result);
  }),
  row(0x80, 'ASYNC_POLL: taken is gone', {}, { success: true, results: [], count: 0 }),
  row(0x80, 'ASYNC_POLL: bad JSON is {}', 'nonsense', { success: true, results: [], count: 0 }),

  row(0x04, 'WRITE', ({ folder }) => ({ path: `${folder}/f`, content: 'abc', mode: 'write' }), {
    success: true,
    bytes_written: 3,
  }),
  row(0x04, 'WRITE, append', ({ folder }) => ({ path: `${folder}/f`, content: 'dé', mode: 'append' }), {
    success: true,
    bytes_written: 3,
  }),
  row(
    0x04,
    'WRITE, a mode nobody knows',
    ({ folder }) => ({ path: `${folder}/g`, content: 'x', mode: 'w' }),
    {
      success: true,
      bytes_written: 1,
    },
  ),
  row(0x04, 'WRITE without a path', { content: 'x' }, failure('path required', { bytes_written: 0 })),
  row(
    0x04,
    'WRITE where no folder is',
    ({ folder }) => ({ path: `${folder}/no/f`, content: '' }),
    failure('failed to open file for writing', { bytes_written: 0 }),
  ),
  row(
    0x04,
    'WRITE not permitted',
    { path: '/etc/shadow', content: '' },
    failure('Permission denied: path not allowed for writing', { bytes_written: 0 }),
    { as: 'agent' },
  ),
  row(0x03, 'READ', ({ folder }) => ({ path: `${folder}/f` }), { success: true, content: 'abcdé', size: 6 }),
  row(0x03, 'READ without a path', {}, failure('path required', { content: '', size: 0 })),
  row(
    0x03,
    'READ of nothing',
    { path: '/nonexistent' },
    failure('failed to open file', { content: '', size: 0 }),
  ),
  row(
    0x03,
    'READ not permitted',
    { path: '/etc/shadow' },
    failure('Permission denied: path not allowed for reading', { content: '', size: 0 }),
    { as: 'agent' },
  ),
  row(0x03, 'READ, malformed', 'x', failure('invalid request', { content: '', size: 0 })),

  row(
    0x41,
    'SET_PERMS, so that HTTP may reach this machine',
    {
      permissions: {
        can_read: true,
        network: ['*'],
        http_methods: ['*'],
        private_network: true,
        default_blocked: false,
      },
    },
    { success: true },
  ),
  row(
    0x50,
    'HTTP: status, headers and body are the server’s',
    ({ serverUrl }) => ({ url: serverUrl, method: 'GET', async: false }),
    {
      success: true,
      status_code: 418,
      body: 'short and stout',
      headers: expect.objectContaining({ 'x-pot': 'tea' }),
    },
  ),
  row(
    0x50,
    'HTTP with a body',
    ({ serverUrl }) => ({
      url: `${serverUrl}echo`,
      method: 'POST',
      headers: { 'x-a': 'b' },
      body: 'ping',
      timeout: 30,
    }),
    {
      success: true,
      body: 'POST b ping',
    },
  ),
  row(0x50, 'HTTP without a URL', {}, failure('URL required', { body: '', status_code: 0 })),
  row(
    0x50,
    'HTTP not permitted',
    { url: 'http://example.org/' },
    failure('Permission denied: HTTP not allowed'),
    { as: 'agent' },
  ),
  row(0x50, 'HTTP, malformed', '"x"', failure('invalid request', { status_code: 0 })),
  row(
    0x51,
    'DOWNLOAD into a file',
    ({ serverUrl, folder }) => ({ url: `${serverUrl}echo`, path: `${folder}/e` }),
    { success: true, status_code: 200, bytes: 14, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
  ),
  row(
    0x51,
    'DOWNLOAD of what is not there',
    ({ serverUrl, folder }) => ({ url: serverUrl, path: `${folder}/d` }),
    (answer) => {
      expect(answer).toMatchObject({ status_code: 418 });
    },
  ),
  row(
    0x41,
    'SET_PERMS back, by a level',
    { level: 'unrestricted' },
    { success: true, level: 'unrestricted' },
  ),
  row(0x51, 'DOWNLOAD without a URL', { path: '/tmp/x' }, failure('URL required')),
];
