import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Mailboxes } from './mailboxes.ts';

const all = { max: 1000, waitMs: 0 } as const;
const texts = async (boxes: Mailboxes, id: number): Promise<string[]> =>
  (await boxes.receive(id, all)).map((message) => message.text);

/** Mailboxes 1 to `count`, named a1, a2 … */
function open(count: number, options?: ConstructorParameters<typeof Mailboxes>[0]): Mailboxes {
  const boxes = new Mailboxes(options);
  for (let id = 1; id <= count; id += 1) boxes.open(id, { name: `a${id}` });
  return boxes;
}

describe('Mailboxes', () => {
  it('refuses to send to an id that nobody has, and makes no mailbox for it', () => {
    const boxes = open(1);
    for (const id of [0, 2, 999_999]) {
      expect(() => boxes.send(1, id, '{}')).toThrow(`target agent not found: ${id}`);
    }
    expect(boxes.usage()).toEqual({ mailboxes: 1, bytes: 0 });
  });

  it('delivers in order, with who sent it, its name then, and how old it is', async () => {
    let clock = 100;
    const boxes = open(2, { monotonicMs: () => clock, wallMs: () => 5000 });
    boxes.send(1, 2, '"first"');
    clock = 150;
    boxes.send(1, 2, '"second"');
    clock = 160;
    const received = await boxes.receive(2, all);
    expect(received).toMatchObject([
      { fromId: 1, fromName: 'a1', text: '"first"', ageMs: 60, sentWallMs: 5000 },
      { fromId: 1, fromName: 'a1', text: '"second"', ageMs: 10 },
    ]);
  });

  it('resolves parent and self for each caller by itself', () => {
    const boxes = open(1);
    boxes.open(5, { name: 'child', parentId: 1 });
    expect(boxes.resolve(5, 'parent')).toBe(1);
    expect(boxes.resolve(5, 'self')).toBe(5);
    expect(boxes.resolve(1, 'child')).toBe(5);
    expect(boxes.resolve(1, 'parent')).toBeUndefined();
    boxes.release(1);
    expect(boxes.resolve(5, 'parent')).toBeUndefined();
  });

  it('keeps an agent’s name for it until it is gone for good', () => {
    const boxes = open(2);
    expect(() => boxes.register(2, 'a1')).toThrow('name already registered');
    expect(() => boxes.open(3, { name: 'a1' })).toThrow('name already registered');
    expect(boxes.has(3)).toBe(false);
    boxes.release(1);
    boxes.register(2, 'a1');
    expect(boxes.resolve(2, 'a1')).toBe(2);
  });

  it('charges what a world puts there to the world: neither the kernel nor another world is kept from speaking', async () => {
    const boxes = open(2, { limits: { sourceBytes: 1000 } });
    const long = JSON.stringify('x'.repeat(500));
    boxes.put(1, 'weather', long, 'w-1');
    expect(() => boxes.put(1, 'weather', long, 'w-1')).toThrow('too many undelivered messages');
    boxes.put(1, 'weather', long, 'w-2');
    boxes.send(0, 1, '{"type":"clove.ping"}');
    boxes.send(2, 1, long);
    expect((await boxes.receive(1, all)).map(({ fromId, fromName }) => [fromId, fromName])).toEqual([
      [0, 'weather'],
      [0, 'weather'],
      [0, ''],
      [2, 'a2'],
    ]);
    // Given back when it was taken.
    boxes.put(1, 'weather', long, 'w-1');
  });

  it('tells the sender when a mailbox is full, and takes more when there is room again', async () => {
    const boxes = open(2, { limits: { messages: 3 } });
    for (let at = 0; at < 3; at += 1) boxes.send(1, 2, String(at));
    expect(() => boxes.send(1, 2, '3')).toThrow(expect.objectContaining({ code: 'OVERLOAD' }) as Error);
    await boxes.receive(2, { max: 1, waitMs: 0 });
    boxes.send(1, 2, '4');
    expect(await texts(boxes, 2)).toEqual(['1', '2', '4']);
  });

  it('bounds the bytes of one mailbox, of one sender and of all', () => {
    const text = JSON.stringify('x'.repeat(1000));
    const overload = expect.objectContaining({ code: 'OVERLOAD' }) as Error;

    const one = open(3, { limits: { bytes: 3000 } });
    for (let at = 0; at < 2; at += 1) one.send(1, 2, text);
    expect(() => one.send(1, 2, text)).toThrow(overload);
    one.send(1, 3, text);

    const sender = open(3, { limits: { sourceBytes: 3000 } });
    for (let at = 0; at < 2; at += 1) sender.send(1, 2, text);
    expect(() => sender.send(1, 3, text)).toThrow(overload);
    sender.send(2, 3, text);

    const total = open(3, { limits: { totalBytes: 3000 } });
    for (let at = 0; at < 2; at += 1) total.send(1, 2, text);
    expect(() => total.send(2, 3, text)).toThrow(overload);
  });

  it('holds a broadcast once, however many get it, and frees it with the last', async () => {
    const boxes = open(1000);
    const text = JSON.stringify('x'.repeat(100_000));
    expect(boxes.broadcast(1, text, false).delivered).toHaveLength(999);
    const { bytes } = boxes.usage();
    expect(bytes).toBeLessThan(101_000);
    for (let id = 2; id < 1000; id += 1) await boxes.receive(id, all);
    expect(boxes.usage().bytes).toBe(bytes);
    boxes.release(1000);
    expect(boxes.usage().bytes).toBe(0);
  });

  it('broadcasts to everybody who has a name, to the sender only on request, and says who was full', () => {
    const boxes = open(3, { limits: { messages: 1 } });
    boxes.open(9);
    expect(boxes.broadcast(1, '1', false)).toEqual({ delivered: [2, 3], refused: [] });
    expect(boxes.broadcast(1, '2', true)).toEqual({ delivered: [1], refused: [2, 3] });
    expect(boxes.pending(9)).toBe(0);
  });

  it('lets a receiver wait, also for a broadcast', async () => {
    const boxes = open(3);
    const waits = [2, 3].map((id) => boxes.receive(id, { max: 10, waitMs: null }));
    boxes.broadcast(1, '"go"', false);
    for (const received of await Promise.all(waits))
      expect(received.map((each) => each.text)).toEqual(['"go"']);
    expect(boxes.usage().bytes).toBe(0);
  });

  it('frees everything of a principal that is gone, and ends its waiting', async () => {
    const boxes = open(2);
    boxes.send(1, 2, '"x"');
    const wait = boxes.receive(1, { max: 1, waitMs: null });
    boxes.release(1);
    boxes.release(2);
    await expect(wait).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(boxes.receive(2, all)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(boxes.usage()).toEqual({ mailboxes: 0, bytes: 0 });
  });

  it('never loses, repeats, reorders or misdelivers a message, whatever is sent, taken and released', async () => {
    const id = fc.integer({ min: 1, max: 4 });
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ kind: fc.constant('send' as const), from: id, to: id }) },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant('broadcast' as const), from: id, self: fc.boolean() }),
      },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('receive' as const), to: id, max: fc.nat(5) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('release' as const), id }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('open' as const), id }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120, size: 'max' }), async (steps) => {
        const limit = 4;
        const boxes = new Mailboxes({ limits: { messages: limit } });
        const model = new Map<number, string[]>();
        for (const [at, each] of steps.entries()) {
          const text = String(at);
          if (each.kind === 'open') {
            if (!model.has(each.id)) {
              boxes.open(each.id, { name: `a${each.id}` });
              model.set(each.id, []);
            }
          } else if (each.kind === 'release') {
            boxes.release(each.id);
            model.delete(each.id);
          } else if (each.kind === 'receive') {
            const box = model.get(each.to);
            if (box !== undefined) {
              const received = await boxes.receive(each.to, { max: each.max, waitMs: 0 });
              expect(received.map((message) => message.text)).toEqual(box.splice(0, each.max));
            }
          } else if (each.kind === 'send') {
            const box = model.get(each.to);
            if (box === undefined || box.length === limit) {
              expect(() => boxes.send(each.from, each.to, text)).toThrow(
                expect.objectContaining({ code: box === undefined ? 'NOT_FOUND' : 'OVERLOAD' }) as Error,
              );
            } else {
              boxes.send(each.from, each.to, text);
              box.push(text);
            }
          } else {
            const others = [...model].filter(([other]) => each.self || other !== each.from);
            const delivered = others.filter(([, box]) => box.length < limit);
            for (const [, box] of delivered) box.push(text);
            expect(new Set(boxes.broadcast(each.from, text, each.self).delivered)).toEqual(
              new Set(delivered.map(([other]) => other)),
            );
          }
          for (const [other, box] of model) expect(boxes.pending(other)).toBe(box.length);
        }
        for (const [other, box] of model) expect(await texts(boxes, other)).toEqual(box);
        expect(boxes.usage()).toEqual({ mailboxes: model.size, bytes: 0 });
      }),
      { numRuns: 200 },
    );
  });
});
