import { describe, expect, it } from 'vitest';
import { type WorldInput, worldSchema } from '../definition.ts';
import { runVirtually } from '../run-virtual.ts';
import { type Comparison, Verification } from './index.ts';

const shop: WorldInput = {
  seed: 5,
  files: { initial: { '/app/config.txt': 'one\n' } },
  network: {
    routes: [
      { host: 'api.test', path: '/luck', body: '{{uuid}}' },
      { host: 'api.test', path: '/slow', delay_ms: 1500, body: 'at last' },
    ],
  },
  services: { db: { host: 'db.test', collections: { users: [{ id: 1, name: 'Ada' }] } } },
  schedule: [{ at: '+10m', store: { key: 'cart', value: { total: 3 } } }],
  chaos: { rules: [{ event: 'latency_spike', every: '5m', for: '1m', params: { ms: 20 } }] },
};

/** Two runs of the world; the second may get another command. */
async function verified(input: WorldInput, script: string, second = script): Promise<Comparison> {
  const definition = worldSchema.parse(input);
  const origin = { kind: 'inline', definition: {} } as const;
  const verification = new Verification(
    { definition, origin, folder: null, warnings: [], name: 'shop' },
    'virtual',
  );
  for (const one of [script, second]) {
    const run = verification.watch();
    const { stdout, stderr, exitCode } = await runVirtually(
      verification.resolved,
      { seed: null, wantsChanges: false, commitTo: null, watch: { run, blocks: verification.blocks } },
      { argv: ['sh', '-c', one], cwd: null, timeoutMs: null, signal: new AbortController().signal },
    );
    run.output('stdout', Buffer.from(stdout));
    run.output('stderr', Buffer.from(stderr));
    run.exited(String(exitCode));
  }
  return verification.compare();
}

const busy = `curl -s http://api.test/luck; curl -s http://api.test/slow; sleep 1200; echo x >> /app/config.txt
curl -s -X POST -H 'content-type: application/json' -d '{"name":"Bob"}' http://db.test/users; date > /app/date.txt`;

describe('two runs of a world', () => {
  it('are the same in strict, with order and times of events and files', async () => {
    const { identical, differences, exact, compared } = await verified({ ...shop, clock: 'strict' }, busy);
    expect(differences).toEqual([]);
    expect({ identical, exact }).toEqual({ identical: true, exact: true });
    // Requests, the schedule, chaos that began and ended, and what was written.
    expect(compared.events).toBeGreaterThan(7);
    expect(compared.files).toBe(3);
  });

  it('are the same in skip, where real work takes real time', async () => {
    const plain = busy.replace('; date > /app/date.txt', '');
    expect(await verified({ ...shop, clock: 'skip' }, plain)).toMatchObject({
      identical: true,
      differences: [],
      exact: false,
    });
  });

  it('begin at one moment where the world begins now', async () => {
    const { differences } = await verified({ clock: { mode: 'strict', start: 'now' } }, 'date +%s%N');
    expect(differences).toEqual([]);
  });

  it('are told apart by a request, with both sides', async () => {
    const { identical, differences } = await verified(
      shop,
      'curl -s http://api.test/luck?1',
      'curl -s http://api.test/luck?2',
    );
    expect(identical).toBe(false);
    expect(differences[0]).toMatchObject({
      aspect: 'events',
      where: 'event 1 of http of run',
      first: expect.stringContaining('luck?1'),
      second: expect.stringContaining('luck?2'),
    });
  });

  it('are told apart by an event that only one of them has', async () => {
    const { differences } = await verified(shop, 'curl -s http://api.test/luck', 'true');
    expect(differences[0]).toMatchObject({ aspect: 'events', second: null });
    expect(differences.map(({ aspect }) => aspect)).toEqual(['events', 'stdout', 'state']);
  });

  it('are told apart by files: contents as a diff, modes, what is missing', async () => {
    const [content, mode, missing] = await Promise.all([
      verified({}, 'echo 1 > /a', 'echo 2 > /a'),
      verified({ files: { initial: { '/a': '' } } }, 'true', 'chmod 600 /a'),
      verified({}, 'echo 1 > /a', 'true'),
    ]);
    const file = ({ differences }: Comparison) => differences.find(({ aspect }) => aspect === 'files');
    expect(file(content)).toMatchObject({ where: '/a', patch: expect.stringContaining('-1\n+2\n') });
    expect(file(mode)).toMatchObject({
      first: expect.stringMatching(/^file 0644/),
      second: expect.stringMatching(/^file 0600/),
    });
    expect(file(missing)).toMatchObject({ first: expect.stringMatching(/^file/), second: null });
  });

  it('are told apart by output and by how they end', async () => {
    const { differences } = await verified(
      {},
      'echo a; echo b; exit 1',
      'echo a; echo c; echo d >&2; exit 2',
    );
    expect(differences).toEqual([
      { aspect: 'stdout', where: 'line 2 of stdout', first: 'b', second: 'c' },
      { aspect: 'stderr', where: 'line 1 of stderr', first: '', second: 'd' },
      { aspect: 'exit', where: 'how it ended', first: '1', second: '2' },
    ]);
  });

  it('are told apart by what a service remembers', async () => {
    const post = (name: string) =>
      `curl -s -o /dev/null -X POST -H 'content-type: application/json' -d '{"name":"${name}"}' http://db.test/users`;
    const { differences } = await verified(shop, post('Bob'), post('Eve'));
    expect(differences.find(({ aspect }) => aspect === 'state')).toMatchObject({
      where: expect.stringMatching(/^network\.services\.db/),
      first: '"Bob"',
      second: '"Eve"',
    });
  });

  it('are told apart in strict by a time alone', async () => {
    const [strict, skip] = await Promise.all(
      (['strict', 'skip'] as const).map((clock) =>
        verified(
          { ...shop, clock },
          'sleep 1; curl -s http://api.test/luck',
          'sleep 2; curl -s http://api.test/luck',
        ),
      ),
    );
    expect(strict?.differences[0]).toMatchObject({ aspect: 'events', where: 'event 1 (http of run)' });
    expect(skip?.differences).toEqual([]);
  });
});
