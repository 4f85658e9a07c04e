import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { toSortedJson } from '../../kernel/json.ts';
import { parseEvent } from '../chaos/kinds.ts';
import type { WorldInput } from '../definition.ts';
import { BlockStore, hashOf } from '../filesystem/blocks.ts';
import { imageOf } from '../image.ts';
import { ALICE, get, type TestWorld, testWorld, text } from '../testing.ts';
import { readSnapshotFile, writeSnapshotFile } from './file.ts';
import { checkedBody, SNAPSHOT_FORMAT, SNAPSHOT_VERSION, type SnapshotBody } from './format.ts';
import { type Packed, pack, unpackInto, verified } from './pack.ts';
import { fromWire, toWire } from './wire.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'clove-snapshots-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const open: TestWorld[] = [];
afterEach(() => {
  for (const { world } of open.splice(0)) world.close();
});

const INPUT: WorldInput = {
  seed: 9,
  clock: { mode: 'step', start: '2026-01-01T00:00:00Z' },
  files: {
    initial: {
      '/a': 'one',
      '/bin/b': { content: Buffer.from([0, 1, 255]).toString('base64'), encoding: 'base64' },
    },
  },
  network: {
    routes: [{ host: 'api.test', path: '/n', sequence: [{ json: 1 }, { json: 2 }, { json: 3 }] }],
  },
  schedule: [{ name: 'later', at: '+2h', append: { path: '/a', content: ' two' } }],
  chaos: { rules: [{ event: 'disk_fail', params: { path: '/flaky', operation: 'read', probability: 0.5 } }] },
};

async function make(image?: SnapshotBody['image'], blocks?: BlockStore): Promise<TestWorld> {
  const made = await testWorld(INPUT, {
    ...(image === undefined ? {} : { image }),
    ...(blocks === undefined ? {} : { blocks }),
  });
  open.push(made);
  return made;
}

function packed({ world }: TestWorld): Packed {
  const body = {
    format: SNAPSHOT_FORMAT,
    version: SNAPSHOT_VERSION,
    world_id: world.id,
    name: world.name,
    seed: 9,
    taken_at: '2026-01-01T00:00:00.000Z',
    origin: world.parts.origin,
    image: imageOf(world, () => [{ fromName: 'bob', text: '"hi"' }]),
  };
  return pack(JSON.parse(JSON.stringify(body)), (hash) => world.parts.files?.content(hash) as Buffer);
}

/** Has lived a little: changed, stored, asked, disturbed. */
async function lived(): Promise<TestWorld> {
  const made = await make();
  const { world } = made;
  world.add(ALICE, false);
  await world.write(ALICE, '/new/file', Buffer.from('new'), false);
  await world.write(ALICE, '/flaky', Buffer.from('x'), false);
  await world.state.store(1, { key: 'k', text: '{"v":1}', scope: 'global', ttlMs: 7_200_000 });
  await get(world, 'http://api.test/n');
  await world.parts.clock.advance(3_600_000);
  world.chaos.inject(parseEvent('disk_full', { path: '/new/**' }), { forMs: 3_600_000, source: 'test' });
  world.chaos.inject(parseEvent('latency_spike', { ms: 0 }), { forMs: null, source: 'test' });
  return made;
}

/** What happens from here on. */
async function future({ world }: TestWorld): Promise<unknown[]> {
  const told: unknown[] = [];
  const note = async (work: Promise<unknown>) =>
    told.push(await work.then(String, (error: Error) => error.message));
  await note(world.write(ALICE, '/new/other', Buffer.from('x'), false));
  await note(get(world, 'http://api.test/n').then(({ body }) => body));
  for (let n = 0; n < 12; n += 1) await note(world.read(ALICE, '/flaky'));
  await world.parts.clock.advance(3_600_000);
  told.push(
    world.chaos.active().map(({ id }) => id),
    await text(world, '/a'),
    world.parts.clock.monotonicMs(),
  );
  await note(world.write(ALICE, '/new/other', Buffer.from('x'), false));
  told.push(world.state.fetch(1, 'k', 'global')?.text ?? null);
  await world.parts.clock.advance(3_600_001);
  told.push(world.state.fetch(1, 'k', 'global')?.text ?? null);
  return told;
}

it('takes lasting events with their defaults, under the names that are read, and refuses times that are no dates', async () => {
  const made = await make();
  const { body } = packed(made);
  const withImage = (image: object) =>
    checkedBody(JSON.parse(JSON.stringify({ ...body, image: { ...body.image, ...image } })));
  const event = {
    id: 'event-1',
    kind: 'load_spike',
    params: { url: 'http://api.test/n' },
    sinceMs: 0,
    untilMs: null,
    source: 'x',
    record: { files: [], network: [], paused: [] },
  };
  const read = withImage({ chaos: { ...body.image.chaos, active: [event] } });
  expect(read.image.chaos.active[0]?.params).toMatchObject({ per_second: expect.any(Number) });
  expect(() => withImage({ clock: { ...body.image.clock, monotonicMs: 8.64e15 } })).toThrow(/monotonicMs/);
  const [entry] = body.image.schedule;
  expect(() => withImage({ schedule: [{ ...entry, baseMs: 1e300 }] })).toThrow(/baseMs/);
});

it('believes the past of an agent only in its order, with answers that are JSON, and within what a snapshot takes', async () => {
  const { body } = packed(await make());
  const first = {
    opcode: 1,
    request: 'nonsense that was refused',
    answer: '{"success":false}',
    success: false,
    delivered: true,
    begun: 1,
    ended: 4,
    at: '2026-01-01T00:00:00.000Z',
    duration_us: 10,
    until_ms: null,
  };
  const second = { ...first, begun: 2, ended: 3 };
  const agent = { name: 'a', request: {}, withheld: [], checkpoint: null, reason: null };
  const withPasts = (...pasts: readonly (readonly object[])[]) => {
    const agents = pasts.map((calls, index) => ({
      ...agent,
      name: `a${index}`,
      past: { seed: null, calls },
    }));
    return checkedBody(JSON.parse(JSON.stringify({ ...body, image: { ...body.image, agents } })));
  };
  expect(withPasts([first, second]).image.agents[0]?.past?.calls).toEqual([first, second]);
  expect(() => withPasts([second, first])).toThrow(/not in their order/);
  expect(() => withPasts([{ ...first, ended: 0 }])).toThrow(/not in their order/);
  expect(() => withPasts([{ ...first, answer: 'half of {' }])).toThrow(/an answer of a past is not JSON/);
  const large = { ...first, answer: JSON.stringify('x'.repeat(5 * 2 ** 20)) };
  expect(() => withPasts([large], [large])).toThrow(/pasts of more than 8388608 bytes/);
});

describe('a world that goes on elsewhere', () => {
  it('does as it would have done: files, network, clock, luck, events, schedule, state', async () => {
    const original = await lived();
    const file = path.join(folder, 'w.world');
    const taken = packed(original);
    await writeSnapshotFile(file, taken);
    const read = await readSnapshotFile(file);
    expect(read.id).toBe(taken.id);
    const blocks = new BlockStore();
    const release = unpackInto(blocks, read);
    const again = await make(read.body.image, blocks);
    release();
    expect(again.world.memberIds()).toEqual([]);
    expect(again.world.pendingMail.get('alice')).toEqual([{ fromName: 'bob', text: '"hi"' }]);
    expect(await future(again)).toEqual(await future(original));
    expect(again.world.parts.files?.content(hashOf(Buffer.from([0, 1, 255])))).toEqual(
      Buffer.from([0, 1, 255]),
    );
    again.world.close();
    expect(blocks.size).toBe(0);
  });

  it('also over the wire, where what is text stands once', async () => {
    const original = await lived();
    const taken = packed(original);
    const wire = JSON.parse(JSON.stringify(toWire(original.world, taken)));
    expect(wire.vfs.files['/new/file'].content).toBe('new');
    expect(Object.keys(wire.clove.blocks)).toHaveLength(1);
    expect(fromWire(wire)?.id).toBe(taken.id);
    expect(fromWire({ vfs: {} })).toBeNull();
    wire.vfs.files['/new/file'].content = 'old';
    expect(() => fromWire(wire)).toThrow(/address|size/);
  });

  it('shares what it has in common with its branches', async () => {
    const original = await lived();
    const before = original.blocks.bytes;
    const branches = await Promise.all(
      Array.from({ length: 8 }, () =>
        make(
          imageOf(original.world, () => []),
          original.blocks,
        ),
      ),
    );
    expect(original.blocks.bytes).toBe(before);
    await branches[0]?.world.write(ALICE, '/a', Buffer.from('mine'), false);
    expect(await text(original.world, '/a')).toBe('one');
    expect(await text(branches[1]?.world as TestWorld['world'], '/a')).toBe('one');
    const futures = await Promise.all(branches.slice(1).map(future));
    for (const one of futures) expect(one).toEqual(futures[0]);
  });
});

describe('a file of somebody else', () => {
  const rewritten = (change: (lines: string[]) => string[]) => {
    const file = path.join(folder, 'w.world');
    const lines = zstdDecompressSync(readFileSync(file)).toString().split('\n');
    const target = path.join(folder, 'changed.world');
    writeFileSync(target, zstdCompressSync(change(lines).join('\n')));
    return target;
  };

  it.each([
    [
      'a changed content',
      (lines: string[]) => [
        lines[0] as string,
        (lines[1] as string).replace('"data":"', '"data":"AAAA'),
        ...lines.slice(2),
      ],
    ],
    ['a missing content', (lines: string[]) => [lines[0] as string, ...lines.slice(2)]],
    [
      'a content too many',
      (lines: string[]) => [
        ...lines.slice(0, -1),
        JSON.stringify({ hash: hashOf(Buffer.from('zz')), data: 'eno=' }),
        '',
      ],
    ],
    [
      'a changed body',
      (lines: string[]) => [(lines[0] as string).replace('"seed":9', '"seed":8'), ...lines.slice(1)],
    ],
    ['a cut end', (lines: string[]) => lines.slice(0, -2)],
    ['no JSON', () => ['{', '']],
  ])('is refused for %s', async (_what, change) => {
    await expect(readSnapshotFile(rewritten(change))).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
  });

  it('is refused where it is no snapshot at all', async () => {
    const target = path.join(folder, 'text.world');
    writeFileSync(target, 'hello');
    await expect(readSnapshotFile(target)).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
    await expect(readSnapshotFile(folder)).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
    await expect(readSnapshotFile(path.join(folder, 'gone'))).rejects.toMatchObject({ code: 'DATA_MISSING' });
  });

  it('leaves nothing behind where it could not be written', async () => {
    const made = await lived();
    await expect(
      writeSnapshotFile(path.join(folder, 'no', 'such', 'folder'), packed(made)),
    ).rejects.toMatchObject({ code: 'IO' });
    expect(existsSync(path.join(folder, 'no'))).toBe(false);
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  const entry = {
    path: '/x',
    kind: 'file',
    mode: 0o644,
    mtimeMs: 0,
    hash: hashOf(Buffer.from('x')),
    size: 1,
  };
  const bad: readonly (readonly [string, readonly Record<string, unknown>[]])[] = [
    ['a path that leaves', [{ ...entry, path: '/../etc/passwd' }]],
    ['a relative path', [{ ...entry, path: 'x' }]],
    ['a path with NUL', [{ ...entry, path: '/a\0b' }]],
    ['the root', [{ ...entry, path: '/' }]],
    ['a slash too many', [{ ...entry, path: '//x' }]],
    ['setuid', [{ ...entry, mode: 0o4755 }]],
    ['a device', [{ ...entry, kind: 'device' }]],
    ['an owner', [{ ...entry, uid: 0 }]],
    ['two of one name', [entry, entry]],
    [
      'two of one name in other letters',
      [
        { ...entry, path: '/\u00e9' },
        { ...entry, path: '/e\u0301' },
      ],
    ],
    [
      'a file below a link',
      [
        { path: '/l', kind: 'link', mode: 0o777, mtimeMs: 0, target: '/etc' },
        { ...entry, path: '/l/passwd' },
      ],
    ],
    ['a file below a file', [entry, { ...entry, path: '/x/y' }]],
    ['a size that is not', [{ ...entry, size: 2 ** 30 }]],
    ['a negative size', [{ ...entry, size: -1 }]],
    ['no address', [{ ...entry, hash: 'x' }]],
    ['a path too long', [{ ...entry, path: `/${'a/'.repeat(3000)}x` }]],
    ['a path too deep', [{ ...entry, path: `/${'a/'.repeat(200)}x` }]],
  ];

  it.each(bad)('is refused entirely for a tree with %s', async (_what, entries) => {
    const made = await lived();
    const { body } = packed(made);
    const evil = structuredClone(body) as unknown as {
      image: { files: { base: unknown[]; entries: unknown[] } };
    };
    evil.image.files.base = [];
    evil.image.files.entries = [...entries];
    const id = hashOf(Buffer.from(toSortedJson(evil)));
    const blocks = new Map([[entry.hash, Buffer.from('x')]]);
    expect(() => verified(id, evil, blocks)).toThrowError(expect.objectContaining({ code: 'DATA_CORRUPT' }));
  });

  it('is refused for ten million entries without looking at each', async () => {
    const made = await lived();
    const { body } = packed(made);
    const evil = structuredClone(body) as unknown as { image: { files: { entries: unknown[] } } };
    evil.image.files.entries = Array(1e7).fill(entry);
    expect(() => verified('0', evil, new Map())).toThrowError(
      expect.objectContaining({ code: 'DATA_CORRUPT' }),
    );
  });
});
