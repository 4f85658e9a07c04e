import { afterEach, expect, it } from 'vitest';
import type { WorldInput } from '../definition.ts';
import { ALICE, get, join, type TestWorld, testWorld, text } from '../testing.ts';

const open: TestWorld[] = [];
afterEach(() => {
  for (const { world } of open.splice(0)) world.close();
});

async function make(schedule: WorldInput['schedule'], more: WorldInput = {}): Promise<TestWorld> {
  const made = await testWorld({
    clock: { mode: 'step', start: '2026-01-01T00:00:00Z' },
    files: { initial: { '/log': '' } },
    network: { routes: [{ host: 'api.test', path: '/*', json: {} }] },
    ...more,
    schedule,
  });
  open.push(made);
  return made;
}

const log = (line: string) => ({ append: { path: '/log', content: `${line} {{time}}\n` } });
const turns = async () => {
  for (let n = 0; n < 5; n += 1) await new Promise((resolve) => setImmediate(resolve));
};

it('happens at its time, in the order of times, told in the world’s time', async () => {
  const { world } = await make([
    { at: '+1h', ...log('second') },
    { at: '+30m', ...log('first') },
    { at: '+10h', ...log('never') },
  ]);
  await world.parts.clock.advance(3_600_000);
  expect(await text(world, '/log')).toBe('first 2026-01-01T00:30:00.000Z\nsecond 2026-01-01T01:00:00.000Z\n');
});

it('by a calendar in UTC, and again and again', async () => {
  const { world } = await make([
    { cron: '0 */6 * * *', ...log('cron') },
    { every: '8h', times: 2, ...log('every') },
    { at: '1h', every: '20h', ...log('from') },
  ]);
  await world.parts.clock.advance(86_400_000);
  const lines = (await text(world, '/log')).trim().split('\n');
  expect(lines.filter((line) => line.startsWith('cron'))).toEqual([
    'cron 2026-01-01T06:00:00.000Z',
    'cron 2026-01-01T12:00:00.000Z',
    'cron 2026-01-01T18:00:00.000Z',
    'cron 2026-01-02T00:00:00.000Z',
  ]);
  expect(lines.filter((line) => line.startsWith('every'))).toHaveLength(2);
  expect(lines.filter((line) => line.startsWith('from'))).toEqual([
    'from 2026-01-01T01:00:00.000Z',
    'from 2026-01-01T21:00:00.000Z',
  ]);
});

it('when something becomes so: a file, a request, a key, a member, another entry', async () => {
  const made = await make([
    {
      name: 'file',
      when: { file: { path: '/work/done', contains: 'yes' } },
      store: { key: 'seen', value: true },
    },
    { name: 'state', when: { state: { key: 'seen', equals: true } }, after: '5m', ...log('after') },
    {
      name: 'request',
      when: { requests: { host: 'api.test', path: '/a', at_least: 2 } },
      ...log('asked twice'),
    },
    { name: 'member', when: { members: 1 }, send: { to: 'ali*', message: { hello: 1 } } },
    { name: 'then', when: { happened: 'request' }, emit: { type: 'asked', data: {} } },
  ]);
  const { world, done } = made;
  await turns();
  expect(done).toEqual([]);
  join(made, ALICE);
  await expect.poll(() => done).toEqual(['send 1 {"hello":1}']);
  await world.write(ALICE, '/work/done', Buffer.from('no'), false);
  await turns();
  expect(world.hasState && world.state.fetch(0, 'seen', 'global')).toBeFalsy();
  await world.write(ALICE, '/work/done', Buffer.from('yes'), false);
  await world.parts.clock.advance(300_000);
  expect(await text(world, '/log')).toContain('after');
  await get(world, 'http://api.test/a');
  await get(world, 'http://api.test/b');
  await world.parts.clock.advance(1);
  expect(await text(world, '/log')).not.toContain('asked twice');
  await get(world, 'http://api.test/a');
  await world.parts.clock.advance(1);
  await turns();
  await world.parts.clock.advance(1);
  expect(await text(world, '/log')).toContain('asked twice');
  expect(done).toContain('emit 1 asked');
});

it('an entry that fails is told, and the others go on', async () => {
  const { world } = await make([
    { name: 'bad', at: 1000, remove: '/nothing' },
    { name: 'refused', at: 1500, request: { url: 'http://nobody.test/' } },
    { name: 'good', at: 2000, ...log('good') },
  ]);
  await world.parts.clock.advance(5000);
  await turns();
  expect(world.happenings.map(({ name, error }) => [name, error === null])).toEqual([
    ['bad', false],
    ['refused', false],
    ['good', true],
  ]);
});

it('jitter is the seed’s', async () => {
  const times = async (seed: number) => {
    const made = await testWorld(
      {
        clock: { mode: 'step', start: 0 },
        files: { initial: { '/log': '' } },
        schedule: [{ every: '1m', jitter: '30s', times: 5, ...log('x') }],
      },
      { seed },
    );
    open.push(made);
    await made.world.parts.clock.advance(600_000);
    return text(made.world, '/log');
  };
  expect(await times(5)).toBe(await times(5));
  expect(await times(5)).not.toBe(await times(6));
});
