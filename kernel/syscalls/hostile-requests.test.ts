import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ERROR_CODES } from '../../errors/index.ts';
import { type TestClient, TestKernel } from '../fixture.ts';
import { AgentConnection } from './agent-connection.ts';
import { asyncSyscalls } from './async.ts';
import { eventSyscalls } from './events.ts';
import { httpSyscalls } from './http.ts';
import { ipcSyscalls } from './ipc.ts';
import { metricsSyscalls } from './metrics.ts';
import { stateSyscalls } from './state.ts';

const definitions = [
  ...httpSyscalls,
  ...asyncSyscalls,
  ...ipcSyscalls,
  ...stateSyscalls,
  ...eventSyscalls,
  ...metricsSyscalls,
];

let kernel: TestKernel;
let operator: TestClient;
let agent: AgentConnection;

beforeAll(async () => {
  kernel = await TestKernel.boot();
  operator = await kernel.connect();
  agent = await AgentConnection.spawn(kernel, operator, 'victim');
});
afterAll(() => kernel.close());

/** An answer that clients can read: an error has words and a known code, success has what the table says (the kernel checks it here). */
function expectTyped(text: string): void {
  const answer = JSON.parse(text);
  expect(answer.success).toBeTypeOf('boolean');
  if (answer.success === true) return;
  expect(Object.keys(ERROR_CODES)).toContain(answer.code);
  expect(answer.code, text).not.toBe('INTERNAL');
  expect(answer.error).toMatch(/\S/);
}

const bytes = (...values: number[]): Uint8Array => Uint8Array.of(...values);
const SHAPES: readonly (string | Uint8Array)[] = [
  '',
  '{',
  '[]',
  'null',
  '0',
  '"x"',
  'true',
  '{"a":',
  bytes(0xff, 0xfe),
  bytes(0x7b, 0x22, 0xc0, 0x80, 0x22, 0x3a, 0x31, 0x7d),
  '{"__proto__":{"x":1}}',
  '{"key":"a","key":"b"}',
  `${'['.repeat(5000)}${']'.repeat(5000)}`,
  '{"key":1e999}',
  '{"max":9007199254740993}',
  '{"max":-0}',
  '{"key":"a\\ud800"}',
];

describe('whatever is sent, a typed answer comes and the kernel goes on', () => {
  it.each(definitions.map((definition) => [definition.name, definition] as const))(
    '%s',
    async (_name, definition) => {
      const schema = z.toJSONSchema(definition.request, { io: 'input', unrepresentable: 'any' });
      const fields = Object.keys(schema.properties ?? {}).filter((name) => name !== 'wait');
      const value = fc.oneof(
        fc.jsonValue({ maxDepth: 2 }),
        fc.constantFrom(0, -1, 1.5, 2 ** 53, '1', '', 'global', '*', 'victim', '__proto__', '../..'),
      );
      const request = fc.record(Object.fromEntries(fields.map((name) => [name, value])), {
        requiredKeys: [],
      });
      for (const connection of [operator, agent]) {
        for (const shape of SHAPES) expectTyped(await connection.callText(definition.opcode, shape));
        await fc.assert(
          fc.asyncProperty(request, async (body) => {
            // Nothing here may wait: what would is cut short.
            const text = JSON.stringify({
              ...body,
              ...(fields.includes('timeout_ms') ? { wait: false } : {}),
            });
            expectTyped(await connection.callText(definition.opcode, text));
          }),
          { numRuns: 40 },
        );
      }
      expect(await operator.callText(0, 'alive')).toBe('alive');
      expect(Object.prototype).not.toHaveProperty('x');
    },
  );
});
