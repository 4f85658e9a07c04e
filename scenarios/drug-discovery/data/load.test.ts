import { describe, expect, it } from 'vitest';
import { DistinctMolecules } from './distinct.ts';
import { realDataDirectory } from './fixtures.ts';
import { loadDataset, parseDataset } from './load.ts';
import { resolveSources } from './resolve.ts';
import { DATASET_NAMES, DATASETS } from './sources.ts';

const header = 'Drug_ID\tDrug\tY\n';

describe('reading a data set', () => {
  it('takes labels written 1, 0, 1.0 and 0.0', () => {
    const { rows, dropped } = parseDataset(
      `${header}"a"\t"C"\t1\n"b"\t"CC"\t0\nc\tCCC\t1.0\nd\tO\t"0.0"\n`,
      'x',
    );
    expect(rows).toEqual([
      { line: 2, id: 'a', smiles: 'C', label: 1 },
      { line: 3, id: 'b', smiles: 'CC', label: 0 },
      { line: 4, id: 'c', smiles: 'CCC', label: 1 },
      { line: 5, id: 'd', smiles: 'O', label: 0 },
    ]);
    expect(dropped).toEqual([]);
  });

  it('drops rows without a label or a SMILES, and says so', () => {
    expect(parseDataset(`${header}a\tC\t\nb\t\t1\nc\tO\t0\n`, 'x')).toEqual({
      rows: [{ line: 4, id: 'c', smiles: 'O', label: 0 }],
      dropped: [
        { line: 2, id: 'a', reason: 'missing label' },
        { line: 3, id: 'b', reason: 'missing SMILES' },
      ],
    });
  });

  it.each([
    ['', 'x: the header is not Drug_ID, Drug, Y (tab separated)'],
    ['smiles,label\n', 'x: the header is not Drug_ID, Drug, Y (tab separated)'],
    [`${header}a\tC\n`, 'x, line 2: 2 fields instead of 3'],
    [`${header}a\tC\t1\nb\tO\t0.5\n`, 'x, line 3: the label "0.5" is neither 0 nor 1'],
    [`${header}"a\tC\t1\n`, 'x: line 2: a quoted field is never closed'],
  ])('refuses files of another form: %j', (text, message) => {
    expect(() => parseDataset(text, 'x')).toThrow(expect.objectContaining({ code: 'DATA_CORRUPT', message }));
  });

  it.for(DATASET_NAMES)(
    'finds in the measured %s the rows and positives that were published',
    async (name, ctx) => {
      const { directory, present } = realDataDirectory();
      if (!present) ctx.skip(`no real data at ${directory}`);
      const [source] = resolveSources({ datasets: [name], directory, environment: {} });
      const { rows, dropped } = await loadDataset(source!);
      expect(dropped).toEqual([]);
      expect(rows).toHaveLength(DATASETS[name].rows);
      expect(rows.filter(({ label }) => label === 1)).toHaveLength(DATASETS[name].positives);
    },
  );
});

describe('molecules that occur more than once', () => {
  it('are kept once when their labels agree, and not at all when they do not', () => {
    const molecules = new DistinctMolecules();
    const add = (line: number, canonical: string, label: 0 | 1): number | undefined =>
      molecules.add({ line, id: `r${line}`, smiles: canonical, label }, canonical);
    expect(add(1, 'A', 1)).toBe(0);
    expect(add(2, 'B', 0)).toBe(1);
    expect(add(3, 'A', 1)).toBeUndefined();
    expect(add(4, 'B', 1)).toBeUndefined();
    expect(add(5, 'B', 0)).toBeUndefined();
    expect(add(6, 'C', 0)).toBe(2);
    expect(molecules.keptIndices()).toEqual([0, 2]);
    expect(molecules.dropped).toEqual([
      { line: 3, id: 'r3', reason: 'repeated' },
      { line: 2, id: 'r2', reason: 'contradictory' },
      { line: 4, id: 'r4', reason: 'contradictory' },
      { line: 5, id: 'r5', reason: 'contradictory' },
    ]);
  });
});
