import { afterAll, beforeAll, expect, it } from 'vitest';
import { type TestClient, TestKernel } from '../fixture.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { SYSCALL_BY_OPCODE, SYSCALLS } from './table.ts';

let kernel: TestKernel;
let client: TestClient;
beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
});
afterAll(() => kernel.close());

it('the table has one definition for each opcode of the map', () => {
  expect(SYSCALL_BY_OPCODE.size).toBe(Object.keys(OPCODES).length);
  expect(SYSCALLS.length).toBe(SYSCALL_BY_OPCODE.size);
});

it('NOOP answers with the bytes it got, also none and such that are not text', async () => {
  for (const payload of ['', 'hello', '{"not": json']) {
    expect(await client.callText(OPCODES.NOOP, payload)).toBe(payload);
  }
  const frame = await client.raw.call({ opcode: OPCODES.NOOP, payload: Uint8Array.of(0, 255, 254) });
  expect([...frame.payload]).toEqual([0, 255, 254]);
});

it('EXIT says goodbye in plain bytes and ends nothing', async () => {
  expect(await client.callText(OPCODES.EXIT, '')).toBe('goodbye');
  expect(await client.callText(OPCODES.NOOP, 'still here')).toBe('still here');
});

it('HELLO tells what every generation of clients reads, whatever it is sent', async () => {
  for (const payload of ['', '{}', 'garbage', '[1]']) {
    const answer = JSON.parse(await client.callText(OPCODES.HELLO, payload));
    expect(answer).toMatchObject({
      success: true,
      protocol_version: 1,
      kernel_version: '0.1.0',
      version: '0.1.0',
      features: { llm_in_kernel: false },
    });
    expect(answer.capabilities).toEqual(expect.arrayContaining(['agents.spawn', 'exec', 'metrics.all']));
    expect(answer.uptime).toBeGreaterThanOrEqual(0);
    expect(answer.agent_id).toBeGreaterThan(0);
  }
});

it('an unknown opcode is a typed error', async () => {
  expect(JSON.parse(await client.callText(0x13, '{}'))).toEqual({
    code: 'UNKNOWN_SYSCALL',
    error: 'unknown opcode 0x13',
    success: false,
  });
});
