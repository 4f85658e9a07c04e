import { beforeAll, describe, expect, it } from 'vitest';
import { readGolden } from './fixture-golden.ts';
import { loadRdkit, MAX_SMILES_LENGTH, parseSmiles, type Rdkit, rdkitPackageVersion } from './rdkit.ts';

let rdkit: Rdkit;

beforeAll(async () => {
  rdkit = await loadRdkit();
});

describe('RDKit in WebAssembly', () => {
  it('is the release that the golden values were made with', () => {
    expect(rdkit.version()).toBe(readGolden().rdkit);
    // npm writes 2026.9.1 for RDKit's 2026.09.1.
    expect(rdkit.version().replace(/\.0/g, '.')).toBe(rdkitPackageVersion());
  });

  it('is loaded once however often it is asked for', async () => {
    expect(await loadRdkit()).toBe(rdkit);
  });

  it('parses molecules, salts and dummy atoms', () => {
    for (const smiles of ['c1ccccc1', '[Na+].[Cl-]', '*CC']) {
      using molecule = parseSmiles(rdkit, smiles);
      expect(molecule?.is_valid(), smiles).toBe(true);
    }
  });

  it.each([
    '',
    '  ',
    'not a molecule',
    'C1CC',
    'c1cccc1',
    'C(C)(C)(C)(C)C',
    '[Xx]',
    '{}',
    'C>>C',
    '\u0000',
    '𝒞',
  ])('rejects %j', (smiles) => {
    expect(parseSmiles(rdkit, smiles)).toBeNull();
  });

  it('refuses what would overflow its stack and works on', () => {
    expect(parseSmiles(rdkit, 'C'.repeat(MAX_SMILES_LENGTH + 1))).toBeNull();
    using longest = parseSmiles(rdkit, 'C'.repeat(MAX_SMILES_LENGTH));
    expect(longest?.get_smiles()).toHaveLength(MAX_SMILES_LENGTH);
    using nested = parseSmiles(rdkit, `${'C('.repeat(150)}C${')'.repeat(150)}`);
    expect(nested?.get_num_atoms()).toBe(151);
  });
});
