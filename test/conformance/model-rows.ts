import { expect } from 'vitest';
import type { Answer } from '../../kernel/fixture.ts';
import { type Row, row } from './row.ts';

const NUMBER = expect.any(Number);
const TEXT = expect.any(String);
const accepted = { success: true, async: true, request_id: 77, status: 'accepted' };

/** THINK with a model that answers. */
export const modelRows: readonly Row[] = [
  row(
    0x01,
    'THINK, waited for, with every member that clients send',
    {
      prompt: 'x',
      system_instruction: 'be brief',
      thinking_level: 'low',
      temperature: 0.2,
      max_tokens: 64,
      async: false,
    },
    { success: true, content: TEXT, tokens: NUMBER },
  ),
  row(0x01, 'THINK as existing clients mean it: accepted', { prompt: 'x', request_id: 77 }, accepted),
  row(
    0x01,
    'THINK, accepted because it says so',
    { prompt: 'x', request_id: 78, async: true },
    {
      ...accepted,
      request_id: 78,
    },
  ),
  row(
    0x01,
    'THINK by an agent',
    { prompt: 'x', async: false },
    { success: true, content: TEXT },
    { as: 'agent' },
  ),
  row(0x80, 'ASYNC_POLL of one that asks for none', { max: 0 }, (answer) => {
    expect(answer).toMatchObject({ success: true, results: expect.any(Array) });
    for (const result of answer.results as Answer[])
      expect(result).toMatchObject({ opcode: 0x01, opcode_name: 'THINK', payload: TEXT });
  }),
];
