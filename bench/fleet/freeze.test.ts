import { describe, expect, it } from 'vitest';
import { CloveError } from '../../errors/index.ts';
import { freezeAll, movedSince } from './freeze.ts';

interface Row {
  id: number;
  name: string;
  pid: number;
  state: 'running' | 'paused' | 'starting';
}

/** A kernel that keeps rows; `onPause` is what happens in between. */
function agents(rows: Row[], onPause: (row: Row) => void = () => {}) {
  const client = {
    rows,
    async list() {
      return rows.map((row) => ({ ...row }));
    },
    async pause(id: number) {
      const row = rows.find((each) => each.id === id);
      if (row === undefined || row.state === 'starting') throw new CloveError('CONFLICT', 'it does not run');
      row.state = 'paused';
      onPause(row);
    },
    async kill(id: number) {
      rows.splice(
        rows.findIndex((row) => row.id === id),
        1,
      );
    },
  };
  return client as typeof client & Parameters<typeof freezeAll>[0];
}

const quiet = { signal: new AbortController().signal, log: () => {} };
const row = (id: number, state: Row['state'] = 'running'): Row => ({
  id,
  name: `agent_${id}`,
  pid: 100 + id,
  state,
});

describe('freezing all agents', () => {
  it('goes on until nobody is left who could act: thawed, started again, or new', async () => {
    const rows = [row(1), row(2)];
    let times = 0;
    const client = agents(rows, ({ id }) => {
      times += 1;
      if (id !== 2 || times > 4) return;
      // The second thaws the first, and starts another, before it is frozen itself.
      (rows[0] as Row).state = 'running';
      if (times === 2) rows.push(row(3));
    });
    const frozen = await freezeAll(client, 1, quiet);
    expect([...frozen]).toEqual([
      [1, 101],
      [2, 102],
      [3, 103],
    ]);
    expect(rows.every(({ state }) => state === 'paused')).toBe(true);
  });

  it('ends who cannot be frozen, but for the one whose work is wanted', async () => {
    const client = agents([row(1), row(2, 'starting')]);
    expect([...(await freezeAll(client, 1, quiet)).keys()]).toEqual([1]);
    await expect(freezeAll(agents([row(1, 'starting')]), 1, quiet)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(freezeAll(agents([row(2)]), 1, quiet)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('knows afterwards who moved', async () => {
    const client = agents([row(1), row(2), row(3)]);
    const frozen = await freezeAll(client, 1, quiet);
    expect(await movedSince(client, frozen)).toEqual([]);
    (client.rows[1] as Row).pid = 999;
    (client.rows[2] as Row).state = 'running';
    client.rows.push(row(4, 'paused'));
    expect(await movedSince(client, frozen)).toEqual(['agent_2', 'agent_3', 'agent_4']);
    client.rows.splice(1);
    expect(await movedSince(client, frozen)).toEqual([]);
  });
});
