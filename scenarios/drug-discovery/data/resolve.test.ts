import { mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { cacheRoot, datasetCacheDirectory, featureCacheDirectory } from './directories.ts';
import { realDataDirectory, temporaryDirectories } from './fixtures.ts';
import { BUILT_IN, readSourceFile, resolveSources } from './resolve.ts';
import { DATASET_NAMES, DATASETS } from './sources.ts';

const temporaryDirectory = temporaryDirectories();
const real = realDataDirectory();

describe('where data comes from', () => {
  it('is the built-in set when nothing is named and the cache is empty', async () => {
    const environment = { XDG_CACHE_HOME: await temporaryDirectory() };
    const sources = resolveSources({ datasets: DATASET_NAMES, environment });
    expect(sources.map(({ dataset, kind, provenance }) => [dataset, kind, provenance])).toEqual(
      DATASET_NAMES.map((name) => [name, 'synthetic', 'rule-labelled, synthetic']),
    );
    expect(new Set(sources.map(({ digest }) => digest)).size).toBe(4);
  });

  it('is the named directory before CLOVE_DATA, and CLOVE_DATA before the cache', async (ctx) => {
    if (!real.present) ctx.skip(`no real data at ${real.directory}`);
    const environment = {
      XDG_CACHE_HOME: await temporaryDirectory(),
      CLOVE_DATA: await temporaryDirectory(),
    };
    const [named] = resolveSources({ datasets: ['hERG'], directory: real.directory, environment });
    expect(named).toMatchObject({
      kind: 'file',
      origin: 'directory',
      published: true,
      digest: DATASETS.hERG.sha256,
      provenance: 'measured (TDC hERG, CC BY 4.0)',
    });
    expect(() => resolveSources({ datasets: ['hERG'], environment })).toThrow(
      expect.objectContaining({
        code: 'DATA_MISSING',
        details: { dataset: 'hERG', directory: environment.CLOVE_DATA },
      }),
    );
    environment.CLOVE_DATA = real.directory;
    expect(resolveSources({ datasets: ['hERG'], environment })).toEqual([named]);
    expect(resolveSources({ datasets: ['hERG'], directory: BUILT_IN, environment })).toMatchObject([
      { kind: 'synthetic' },
    ]);
  });

  it('is the cache when it holds all that is asked for, and an error when it holds some', async (ctx) => {
    if (!real.present) ctx.skip(`no real data at ${real.directory}`);
    const environment = { XDG_CACHE_HOME: await temporaryDirectory() };
    const cache = datasetCacheDirectory(environment);
    await mkdir(cache, { recursive: true });
    for (const name of ['hERG', 'BBBP'] as const) {
      await symlink(path.join(real.directory, DATASETS[name].file), path.join(cache, DATASETS[name].file));
    }
    expect(resolveSources({ datasets: ['BBBP', 'hERG'], environment })).toMatchObject([
      { dataset: 'BBBP', origin: 'cache' },
      { dataset: 'hERG', origin: 'cache' },
    ]);
    expect(() => resolveSources({ datasets: DATASET_NAMES, environment })).toThrow(
      expect.objectContaining({
        code: 'DATA_MISSING',
        details: { directory: cache, missing: ['AMES', 'ClinTox'] },
      }),
    );
    expect(resolveSources({ datasets: ['AMES'], environment })).toMatchObject([{ kind: 'synthetic' }]);
  });

  it('may not be a file of other content, unless that is allowed, and then it is named so', async () => {
    const directory = await temporaryDirectory();
    await writeFile(path.join(directory, 'herg.tab'), 'Drug_ID\tDrug\tY\nx\tCCO\t1\n');
    const options = { datasets: ['hERG'], directory, environment: {} } as const;
    expect(() => resolveSources(options)).toThrow(expect.objectContaining({ code: 'DATA_CORRUPT' }));
    for (const allowed of [{ allowChanged: true }, { environment: { CLOVE_ALLOW_CHANGED_DATA: '1' } }]) {
      expect(resolveSources({ ...options, ...allowed })).toMatchObject([
        { kind: 'file', published: false, provenance: 'changed file, not the published data' },
      ]);
    }
  });

  it('is checked again when it is read', async () => {
    const directory = await temporaryDirectory();
    const file = path.join(directory, 'herg.tab');
    await writeFile(file, 'Drug_ID\tDrug\tY\nx\tCCO\t1\n');
    const [source] = resolveSources({ datasets: ['hERG'], directory, allowChanged: true, environment: {} });
    if (source?.kind !== 'file') throw new Error('not a file');
    expect(readSourceFile(source)).toContain('CCO');
    await writeFile(file, 'Drug_ID\tDrug\tY\nx\tCCO\t0\n');
    expect(() => readSourceFile(source)).toThrow(expect.objectContaining({ code: 'DATA_CORRUPT' }));
  });

  it('is an error when it cannot be read', async () => {
    const directory = await temporaryDirectory();
    await mkdir(path.join(directory, 'herg.tab'));
    expect(() => resolveSources({ datasets: ['hERG'], directory, environment: {} })).toThrow(
      expect.objectContaining({ code: 'IO' }),
    );
  });
});

describe('directories', () => {
  it('follow XDG_CACHE_HOME when it is absolute', () => {
    expect(cacheRoot({ XDG_CACHE_HOME: '/c' })).toBe('/c/clove');
    expect(cacheRoot({ XDG_CACHE_HOME: 'relative' })).toBe(cacheRoot({}));
    expect(datasetCacheDirectory({ XDG_CACHE_HOME: '/c' })).toBe('/c/clove/data');
    expect(featureCacheDirectory({ XDG_CACHE_HOME: '/c' })).toBe('/c/clove/features');
  });
});
