import { expect } from 'vitest';
import { SYSCALLS } from '../../kernel/syscalls/table.ts';
import { type Row, row } from './row.ts';

/** What refuses nothing that it is asked, with the reason. */
export const NEVER_REFUSED: Readonly<Record<string, string>> = {
  HELLO: 'tells whoever is connected who it is',
  NOOP: 'answers with what it was sent, in the wire server alone',
  EXIT: 'says goodbye to whoever leaves',
  ASYNC_POLL: 'answers of one’s own calls; a malformed request asks for all of them',
};

/** Who speaks to its supervisor needs no permission, but a supervisor. */
const TAKES_NO_PERMISSION: ReadonlySet<string> = new Set([...Object.keys(NEVER_REFUSED), 'NOTIFY']);

/** Each syscall to one that may call nothing: refused before anything of the request is looked at, in the protocol's form. */
export const refusalRows: readonly Row[] = SYSCALLS.filter(({ name }) => !TAKES_NO_PERMISSION.has(name)).map(
  ({ opcode, name }) =>
    row(
      opcode,
      `${name} to one that was granted no syscall`,
      { path: '/x', url: 'http://example.org/', name: 'x', key: 'k', world_id: 'w' },
      (answer) => {
        expect(answer).toMatchObject({ success: false, code: 'FORBIDDEN', error: expect.any(String) });
        expect(answer.error).toMatch(/permission|not allowed|may not|granted/i);
      },
      { as: 'stranger' },
    ),
);
