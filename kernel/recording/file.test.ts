import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CloveError } from '../../errors/index.ts';
import { toSortedJson } from '../json.ts';
import { CHAIN_START, type Entry, sealLine } from './format.ts';
import { callKey, canonicalText, Occurrences } from './keying.ts';
import { readRecording, verifyRecording } from './reader.ts';
import { RecordingWriter } from './writer.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-recording-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function call(seq: number, n: number, occurrence = 0): Entry {
  const request = `{"key":"k${n}","value":"é ${n}"}`;
  return {
    type: 'call',
    seq,
    agent: 1,
    incarnation: 0,
    caller: 'agent',
    opcode: 0x30,
    syscall: 'STORE',
    replay: 'deterministic',
    key: callKey(0x30, request),
    occurrence,
    request,
    answer: '{"success":true}',
    success: true,
    delivered: true,
    begun: 2 * n + 1,
    ended: 2 * n + 2,
    at: '2026-01-01T00:00:00.000Z',
    duration_us: 5,
    view: n + 1,
    redactions: 0,
  };
}

const header = {
  type: 'header',
  seq: 0,
  format: 'clove-recording',
  version: 1,
  kernel_version: '0',
  node_version: 'v0',
  started_at: '2026-01-01T00:00:00.000Z',
  filter_agents: [],
  filter_names: [],
  redact_names: [],
  max_entries: 10,
  max_bytes: 10,
};

function footer(seq: number, lost: number, calls: number): object {
  return { type: 'footer', seq, ended_at: '2026-01-01T00:00:01.000Z', entries: seq, calls, lost };
}

async function write(calls: number): Promise<{ path: string; id: string }> {
  const writer = new RecordingWriter({ folder, name: `t${Math.random()}`, onFailure: () => {} });
  writer.append(0, () => header);
  for (let n = 0; n < calls; n += 1) writer.append(1, (seq) => call(seq, n));
  return writer.finish((seq, lost) => footer(seq, lost, calls));
}

/** The entry at which a file is refused. */
async function refusedAt(content: string | Buffer, name = 'copy.jsonl'): Promise<number> {
  const file = path.join(folder, name);
  writeFileSync(file, content);
  const error = await verifyRecording(file).then(
    () => null,
    (thrown: CloveError) => thrown,
  );
  expect(error, 'refused').not.toBeNull();
  expect(error?.code).toBe('DATA_CORRUPT');
  expect(error?.message).toMatch(/^recording refused: entry \d+ \(line \d+\): /);
  return error?.details?.seq as number;
}

describe('a finished recording', () => {
  it('is named after its last hash, and reads back as it was written', async () => {
    const { path: file, id } = await write(3);
    expect(path.basename(file)).toBe(`${id}.jsonl`);
    const read: Entry[] = [];
    for await (const entry of readRecording(file)) read.push(entry);
    expect(read.map(({ type }) => type)).toEqual(['header', 'call', 'call', 'call', 'footer']);
    expect(read.slice(1, 4)).toEqual([call(1, 0), call(2, 1), call(3, 2)]);
    expect(await verifyRecording(file)).toMatchObject({ id, bytes: readFileSync(file).length });
  });

  it('is refused under the name of another, also when its chain is right', async () => {
    const [a, b] = [await write(2), await write(3)];
    copyFileSync(a.path, b.path);
    await expect(verifyRecording(b.path)).rejects.toThrow('the file is named after another content');
  });

  it('is refused with any one byte changed, and the entry is named', async () => {
    const text = readFileSync((await write(4)).path);
    await fc.assert(
      fc.asyncProperty(fc.nat(text.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const edited = Buffer.from(text);
        edited[at] = (edited[at] as number) ^ change;
        const line = text.subarray(0, at).filter((byte) => byte === 10).length;
        const seq = await refusedAt(edited);
        // A changed end of line joins two lines: the first of them is bad.
        expect(seq).toBe(line);
      }),
      { numRuns: 200 },
    );
  });

  it('is refused with any line deleted, doubled, moved or added', async () => {
    const lines = readFileSync((await write(4)).path, 'utf8')
      .split('\n')
      .slice(0, -1);
    const joined = (edited: readonly string[]) => `${edited.join('\n')}\n`;
    for (let at = 0; at < lines.length; at += 1) {
      expect(await refusedAt(joined(lines.toSpliced(at, 1)))).toBe(at);
      expect(await refusedAt(joined(lines.toSpliced(at, 0, lines[at] as string)))).toBe(at + 1);
      expect(await refusedAt(joined(lines.toSpliced(at, 0, '')))).toBe(at);
      if (at > 0) {
        const swapped = lines.toSpliced(at - 1, 2, lines[at] as string, lines[at - 1] as string);
        expect(await refusedAt(joined(swapped))).toBe(at - 1);
      }
    }
    expect(await refusedAt(joined([...lines, 'x']))).toBe(lines.length);
  });

  it('is refused wherever it is cut', async () => {
    const text = readFileSync((await write(2)).path);
    for (let length = 0; length < text.length; length += 7) {
      const line = text.subarray(0, length).filter((byte) => byte === 10).length;
      expect(await refusedAt(text.subarray(0, length))).toBe(line);
    }
    expect(await refusedAt(text.subarray(0, -1))).toBe(3);
  });

  it('is refused with a wrong key, count or order though every hash is right', async () => {
    const forge = (entries: readonly object[]) => {
      let hash = CHAIN_START;
      return entries
        .map((entry) => {
          const sealed = sealLine(hash, JSON.stringify(entry));
          hash = sealed.hash;
          return `${sealed.line}\n`;
        })
        .join('');
    };
    const good = [header, call(1, 0), call(2, 1), footer(3, 0, 2)];
    writeFileSync(path.join(folder, 'forged.jsonl'), forge(good));
    await verifyRecording(path.join(folder, 'forged.jsonl'));
    expect(await refusedAt(forge(good.toSpliced(1, 1, { ...call(1, 0), request: '{}' })))).toBe(1);
    expect(await refusedAt(forge(good.toSpliced(1, 1, { ...call(1, 0), seq: 5 })))).toBe(1);
    expect(await refusedAt(forge(good.toSpliced(2, 1, call(2, 1, 7))))).toBe(2);
    expect(await refusedAt(forge(good.toSpliced(3, 1, footer(3, 0, 9))))).toBe(3);
    expect(await refusedAt(forge(good.toSpliced(1, 1, { ...call(1, 0), extra: 1 })))).toBe(1);
    expect(await refusedAt(forge(good.slice(1)))).toBe(0);
  });
});

describe('a writer', () => {
  it('counts what does not fit, says so in the file, and the chain holds', async () => {
    const writer = new RecordingWriter({ folder, name: 'small', maxQueuedBytes: 2000, onFailure: () => {} });
    writer.append(0, () => header);
    let taken = 0;
    for (let n = 0; n < 50; n += 1) if (writer.append(n, (seq) => call(seq, n))) taken += 1;
    expect(taken).toBeLessThan(50);
    expect(writer.lost).toBe(50 - taken);
    await writer.flush();
    expect(writer.append(1, (seq) => call(seq, 60))).toBe(true);
    const { path: file } = await writer.finish((seq, lost) => footer(seq, lost, taken + 1));
    const gaps: Entry[] = [];
    for await (const entry of readRecording(file)) if (entry.type === 'gap') gaps.push(entry);
    expect(gaps).toMatchObject([{ reason: 'queue_full', lost: 50 - taken }]);
    expect(gaps[0]?.type === 'gap' && gaps[0].agents).toContain(49);
  });

  it('counts what the disk refuses, goes on from what it has, and finishes when it can', async () => {
    const failures: Error[] = [];
    const writer = new RecordingWriter({
      folder,
      name: 'failing',
      onFailure: (error) => failures.push(error),
    });
    writer.append(0, () => header);
    writer.append(1, (seq) => call(seq, 0));
    await writer.flush();
    const { open } = await import('node:fs/promises');
    const probe = await open(writer.partialPath, 'r');
    const prototype = Object.getPrototypeOf(probe) as { write: (...args: unknown[]) => Promise<unknown> };
    await probe.close();
    const original = prototype.write;
    prototype.write = () => Promise.reject(new Error('ENOSPC: no space left on device'));
    try {
      writer.append(1, (seq) => call(seq, 1));
      await expect(writer.flush()).rejects.toThrow('ENOSPC');
      expect(writer.append(1, (seq) => call(seq, 2))).toBe(false);
    } finally {
      prototype.write = original;
    }
    expect(failures).toHaveLength(1);
    expect(writer.lost).toBe(2);
    const { path: file } = await writer.finish((seq, lost) => footer(seq, lost, 1));
    const entries: Entry[] = [];
    for await (const entry of readRecording(file)) entries.push(entry);
    expect(entries.map(({ type }) => type)).toEqual(['header', 'call', 'gap', 'footer']);
    // What was on its way to the disk may have been anybody's.
    expect(entries[2]).toMatchObject({ reason: 'write_failed', lost: 2, agents: null });
  });
});

describe('the key of a call', () => {
  it('is the same however its request is written down, and another for every other request', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), fc.jsonValue({ maxDepth: 3 }), (a, b) => {
        const reordered = JSON.stringify(reverseMembers(a), null, 2);
        expect(callKey(1, reordered)).toBe(callKey(1, JSON.stringify(a)));
        expect(callKey(2, JSON.stringify(a))).not.toBe(callKey(1, JSON.stringify(a)));
        const same = toSortedJson(a) === toSortedJson(b);
        expect(callKey(1, JSON.stringify(a)) === callKey(1, JSON.stringify(b))).toBe(same);
      }),
      { numRuns: 200 },
    );
  });

  it('has a canonical text that is its own canonical text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        const once = canonicalText(text);
        expect(canonicalText(once)).toBe(once);
      }),
      { numRuns: 200 },
    );
  });

  it('is counted by caller, incarnation and content', () => {
    const occurrences = new Occurrences();
    const seen = [
      occurrences.next(1, 0, 'a'),
      occurrences.next(1, 0, 'a'),
      occurrences.next(1, 1, 'a'),
      occurrences.next(2, 0, 'a'),
      occurrences.next(1, 0, 'b'),
      occurrences.next(1, 0, 'a'),
    ];
    expect(seen).toEqual([0, 1, 0, 0, 0, 2]);
  });
});

function reverseMembers(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(reverseMembers);
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([name, member]) => [name, reverseMembers(member)]),
  );
}
