import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Piscina } from 'piscina';
import { describe, expect, it } from 'vitest';
import { errorFromData } from '../../../errors/index.ts';
import { allocateFeatures, FEATURE_SET_NAMES, writeFeatures } from '../chemistry/features.ts';
import { loadRdkit, parseSmiles } from '../chemistry/rdkit.ts';
import type prepareInputs from '../prepare-inputs.ts';
import { readFeatures } from './features-file.ts';
import { realDataDirectory, temporaryDirectories } from './fixtures.ts';
import { loadDataset } from './load.ts';
import { type PrepareRequest, prepareFeatures } from './prepare.ts';
import { type DataSource, resolveSources } from './resolve.ts';
import { DATASET_NAMES } from './sources.ts';

const temporaryDirectory = temporaryDirectories();

const ROWS = [
  ['aspirin', 'CC(=O)Oc1ccccc1C(=O)O', 1],
  ['toluene', 'Cc1ccccc1', 0],
  ['broken', 'C1CC', 1],
  ['aspirin, written otherwise', 'OC(=O)C1=C(OC(C)=O)C=CC=C1', 1],
  ['ethanol', 'CCO', 0],
  ['caffeine', 'Cn1c(=O)c2c(ncn2C)n(C)c1=O', 0],
  ['ethanol again', 'OCC', 1],
  ['propane', 'CCC', 1],
] as const;

async function smallSource(): Promise<DataSource> {
  const directory = await temporaryDirectory();
  const text = ROWS.map(([id, smiles, label]) => `"${id}"\t"${smiles}"\t${label}\n`).join('');
  await writeFile(path.join(directory, 'herg.tab'), `Drug_ID\tDrug\tY\n${text}`);
  const [source] = resolveSources({ datasets: ['hERG'], directory, allowChanged: true, environment: {} });
  return source!;
}

describe('preparing features', () => {
  it('keeps sound rows in their order and reports the others', async () => {
    const request: PrepareRequest = {
      source: await smallSource(),
      featureSets: FEATURE_SET_NAMES,
      cacheDirectory: await temporaryDirectory(),
    };
    const prepared = await prepareFeatures(request);
    expect(prepared).toMatchObject({
      dataset: 'hERG',
      rows: 4,
      positives: 2,
      computed: FEATURE_SET_NAMES,
      repaired: [],
      droppedCounts: { unparsable: 1, repeated: 1, contradictory: 2 },
      dropped: [
        { line: 4, id: 'broken', reason: 'unparsable' },
        { line: 5, id: 'aspirin, written otherwise', reason: 'repeated' },
        { line: 6, id: 'ethanol', reason: 'contradictory' },
        { line: 8, id: 'ethanol again', reason: 'contradictory' },
      ],
    });
    const kept = [0, 1, 5, 7].map((index) => ROWS[index]!);
    const rdkit = await loadRdkit();
    for (const name of FEATURE_SET_NAMES) {
      const { matrix, labels, scaffolds, header } = readFeatures(prepared.files[name]!);
      const expected = allocateFeatures(name, kept.length);
      for (const [row, [, smiles]] of kept.entries()) {
        using molecule = parseSmiles(rdkit, smiles)!;
        writeFeatures(name, molecule, expected, row);
      }
      expect(matrix).toEqual(expected);
      expect([...labels]).toEqual([1, 0, 0, 1]);
      // Aspirin and toluene share the benzene ring; propane has none.
      expect([...scaffolds]).toEqual([0, 0, 1, 2]);
      expect(header).toMatchObject({ dataset: 'hERG', featureSet: name, rdkitVersion: rdkit.version() });
    }
  });

  it('computes only what is asked for and not there, and replaces what is damaged', async () => {
    const source = await smallSource();
    const cacheDirectory = await temporaryDirectory();
    const first = await prepareFeatures({ source, featureSets: ['morgan'], cacheDirectory });
    expect(first.computed).toEqual(['morgan']);
    expect(await readdir(cacheDirectory)).toHaveLength(1);
    const second = await prepareFeatures({ source, featureSets: ['morgan', 'maccs'], cacheDirectory });
    expect(second).toMatchObject({ computed: ['maccs'], repaired: [], rows: 4, positives: 2 });
    const third = await prepareFeatures({ source, featureSets: ['morgan', 'maccs'], cacheDirectory });
    expect(third).toEqual({ ...second, computed: [] });

    const file = second.files.morgan!;
    const bytes = await readFile(file);
    await writeFile(file, bytes.subarray(0, -1));
    const fourth = await prepareFeatures({ source, featureSets: ['morgan', 'maccs'], cacheDirectory });
    expect(fourth).toMatchObject({ computed: ['morgan'], repaired: ['morgan'] });
    expect(await readFile(file)).toEqual(bytes);
    expect((await readdir(cacheDirectory)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('never takes features of other data', async () => {
    const source = await smallSource();
    const cacheDirectory = await temporaryDirectory();
    const first = await prepareFeatures({ source, featureSets: ['maccs'], cacheDirectory });
    const other: DataSource = { ...source, dataset: 'AMES' };
    const second = await prepareFeatures({ source: other, featureSets: ['maccs'], cacheDirectory });
    expect(second.computed).toEqual(['maccs']);
    expect(second.files.maccs).not.toBe(first.files.maccs);
  });

  it('runs in worker threads, whose errors keep their code', async () => {
    const pool = new Piscina<PrepareRequest, Awaited<ReturnType<typeof prepareInputs>>>({
      filename: new URL('../prepare-inputs.ts', import.meta.url).href,
      maxThreads: 1,
    });
    try {
      const source = await smallSource();
      const cacheDirectory = await temporaryDirectory();
      const request: PrepareRequest = { source, featureSets: ['morgan'], cacheDirectory };
      const result = await pool.run(request);
      expect(result).toMatchObject({ facts: { rows: 4, computed: 'morgan' } });
      const changed = await pool.run({
        ...request,
        featureSets: ['maccs'],
        source: { ...source, digest: 'other' },
      });
      expect(errorFromData('error' in changed && changed.error)).toMatchObject({ code: 'DATA_CORRUPT' });
    } finally {
      await pool.destroy();
    }
  });

  it.for(DATASET_NAMES)('drops none of the measured %s but repeated molecules', async (name, ctx) => {
    const { directory, present } = realDataDirectory();
    if (!present) ctx.skip(`no real data at ${directory}`);
    const [source] = resolveSources({ datasets: [name], directory, environment: {} });
    const cacheDirectory = await temporaryDirectory();
    const prepared = await prepareFeatures({ source: source!, featureSets: ['morgan'], cacheDirectory });
    const dropped = {
      hERG: { repeated: 4, contradictory: 6 },
      AMES: { repeated: 23 },
      BBBP: { repeated: 54, contradictory: 20 },
      ClinTox: { contradictory: 38 },
    }[name];
    expect(prepared.droppedCounts).toEqual(dropped);
    const { rows } = await loadDataset(source!);
    expect(prepared.rows + Object.values(dropped).reduce((a, b) => a + b)).toBe(rows.length);
  });
});
