import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FeatureMatrix } from '../ml/types.ts';
import { writeFileAtomically } from './atomic-write.ts';
import { encodeFeatures, type Features, readFeatures } from './features-file.ts';
import { temporaryDirectories } from './fixtures.ts';

const temporaryDirectory = temporaryDirectories();

const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });

const features: fc.Arbitrary<Features> = fc
  .record({
    rows: fc.integer({ min: 0, max: 9 }),
    columns: fc.integer({ min: 1, max: 70 }),
    bits: fc.boolean(),
    name: fc.string({ unit: 'binary', maxLength: 20 }),
  })
  .chain(({ rows, columns, bits, name }) => {
    const array = <T>(item: fc.Arbitrary<T>, length: number): fc.Arbitrary<T[]> =>
      fc.array(item, { minLength: length, maxLength: length });
    const matrix: fc.Arbitrary<FeatureMatrix> = bits
      ? array(word, rows * Math.ceil(columns / 32)).map((words) => ({
          kind: 'bits',
          rows,
          columns,
          words: Uint32Array.from(words),
        }))
      : array(fc.double(), rows * columns).map((values) => ({
          kind: 'dense',
          rows,
          columns,
          values: Float64Array.from(values),
        }));
    return fc
      .tuple(matrix, array(fc.integer({ min: 0, max: 1 }), rows), array(fc.nat(), rows))
      .map(([matrix, labels, scaffolds]) => ({
        matrix,
        labels: Uint8Array.from(labels),
        scaffolds: Int32Array.from(scaffolds),
        header: {
          dataset: name,
          featureSet: 'morgan',
          kind: matrix.kind,
          rows,
          columns,
          provenance: 'test',
          sourceDigest: 'd',
          rdkitVersion: 'v',
          droppedCounts: { unparsable: 1 },
          dropped: [{ line: 3, id: name, reason: 'unparsable' }],
        },
      }));
  });

const example: Features = {
  matrix: { kind: 'dense', rows: 2, columns: 2, values: Float64Array.of(1, 2, 3, 4.5) },
  labels: Uint8Array.of(0, 1),
  scaffolds: Int32Array.of(0, 1),
  header: {
    dataset: 'hERG',
    featureSet: 'descriptors',
    kind: 'dense',
    rows: 2,
    columns: 2,
    provenance: 'test',
    sourceDigest: 'd',
    rdkitVersion: 'v',
    droppedCounts: {},
    dropped: [],
  },
};

describe('features file', () => {
  it('gives back what was written', async () => {
    const file = path.join(await temporaryDirectory(), 'x.features');
    fc.assert(
      fc.property(features, (written) => {
        writeFileAtomically(file, encodeFeatures(written));
        expect(readFeatures(file)).toEqual(written);
      }),
      { numRuns: 50 },
    );
  });

  it('with any byte changed, or cut, is refused', async () => {
    const file = path.join(await temporaryDirectory(), 'x.features');
    writeFileAtomically(file, encodeFeatures(example));
    const good = await readFile(file);
    const corrupt = expect.objectContaining({ code: 'DATA_CORRUPT' });
    for (let position = 0; position < good.length; position++) {
      // Bytes 12 to 15 are unused.
      if (position >= 12 && position < 16) continue;
      const bad = Buffer.from(good);
      bad[position]! ^= 1 << (position % 8);
      await writeFile(file, bad);
      expect(() => readFeatures(file), `byte ${position}`).toThrow(corrupt);
    }
    for (const length of [0, 7, 47, 48, 60, good.length - 1]) {
      await writeFile(file, good);
      await truncate(file, length);
      expect(() => readFeatures(file), `${length} bytes`).toThrow(corrupt);
    }
    await writeFile(file, Buffer.concat([good, Buffer.of(0)]));
    expect(() => readFeatures(file)).toThrow(corrupt);
  });

  it.each([
    { rows: 3 },
    { rows: -1 },
    { rows: 1.5 },
    { kind: 'other' },
    { columns: 1e9 },
    { dropped: null },
    { provenance: 5 },
    { droppedCounts: { unparsable: 'x' } },
  ])('with a header that does not make sense is refused: %j', async (change) => {
    const file = path.join(await temporaryDirectory(), 'x.features');
    const header = { ...example.header, ...change } as Features['header'];
    writeFileAtomically(file, encodeFeatures({ ...example, header }));
    expect(() => readFeatures(file)).toThrow(expect.objectContaining({ code: 'DATA_CORRUPT' }));
  });

  it('is missing, not corrupt, when it is not there', async () => {
    const directory = await temporaryDirectory();
    expect(() => readFeatures(path.join(directory, 'none'))).toThrow(
      expect.objectContaining({ code: 'DATA_MISSING' }),
    );
    expect(() => readFeatures(directory)).toThrow(expect.objectContaining({ code: 'IO' }));
  });

  it('can be read by workers under other user ids, whatever the umask', async () => {
    const file = path.join(await temporaryDirectory(), 'x.features');
    const before = process.umask(0o077);
    try {
      writeFileAtomically(file, encodeFeatures(example));
    } finally {
      process.umask(before);
    }
    expect((await stat(file)).mode & 0o777).toBe(0o644);
  });
});
