import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadRdkit, parseSmiles, type Rdkit } from '../chemistry/rdkit.ts';
import { seededRandom } from './random.ts';
import { DATASET_NAMES, DATASETS, type DatasetName } from './sources.ts';
import { assembleSmiles } from './synthetic/assemble.ts';
import { CORES, RINGS, SUBSTITUENTS } from './synthetic/fragments.ts';
import {
  ACID,
  BASIC_AMINE,
  DETOXIFYING_GROUPS,
  MUTAGENICITY_ALERTS,
  ruleFor,
  TOXICOPHORES,
} from './synthetic/rules.ts';
import { RECIPES, SYNTHETIC_PROVENANCE, syntheticDigest, syntheticRows } from './synthetic.ts';

/**
 * The starts of the digest of the recipe and of the SHA-256 of its rows. Stored features are found by the digest, so it must
 * change with the rows: when only the rows have, raise GENERATOR_VERSION.
 */
const GOLDEN: Readonly<Record<DatasetName, readonly [digest: string, rows: string]>> = {
  hERG: ['e799fd4890f9', 'b890e7e63a6e'],
  AMES: ['ec92430789ad', 'a11f9ab21cd5'],
  BBBP: ['0f509d285157', '1bac53fbc99e'],
  ClinTox: ['50bc4974ecab', 'f9fe1025e6fd'],
};

let rdkit: Rdkit;

beforeAll(async () => {
  rdkit = await loadRdkit();
});

function follows(dataset: DatasetName, smiles: string): boolean {
  using molecule = parseSmiles(rdkit, smiles);
  if (molecule === null) throw new Error(`does not parse: ${smiles}`);
  return ruleFor(rdkit, dataset)(molecule);
}

describe('assembled molecules', () => {
  it('always parse, whatever the seed and the profile', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...DATASET_NAMES),
        fc.integer(),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (name, seed, fill) => {
          const smiles = assembleSmiles({ ...RECIPES[name].profile, fill }, seededRandom(String(seed)));
          using molecule = parseSmiles(rdkit, smiles);
          expect(molecule, smiles).not.toBeNull();
        },
      ),
      { numRuns: 500 },
    );
  });

  it('can use every piece: each parses with all slots empty or filled', () => {
    const pieces = [...Object.values(CORES), ...Object.values(SUBSTITUENTS), RINGS].flat();
    for (const piece of pieces) {
      const filled = piece.replaceAll(/\([_~!]\)/g, '(C)').replaceAll('(^)', '(C9CC9)');
      const empty = piece
        .replaceAll(/\([_~]\)/g, '')
        .replaceAll('(!)', '(C)')
        .replaceAll('(^)', '(C9CC9)');
      for (const smiles of [filled, empty]) {
        using molecule = parseSmiles(rdkit, smiles);
        expect(molecule, smiles).not.toBeNull();
      }
    }
  });
});

describe('rules', () => {
  it('are valid SMARTS', () => {
    for (const { name, smarts } of [
      ACID,
      BASIC_AMINE,
      ...DETOXIFYING_GROUPS,
      ...MUTAGENICITY_ALERTS,
      ...TOXICOPHORES,
    ]) {
      using query = rdkit.get_qmol(smarts);
      expect(query, name).not.toBeNull();
    }
  });

  it.each([
    ['aromatic nitro', 'O=[N+]([O-])c1ccccc1'],
    ['primary aromatic amine', 'Nc1ccc2ccccc2c1'],
    ['epoxide', 'c1ccc(C2CO2)cc1'],
    ['aziridine', 'C1CN1CC'],
    ['nitrosamine', 'CN(C)N=O'],
    ['hydrazine', 'NNc1ccccc1'],
    ['azo', 'c1ccc(N=Nc2ccccc2)cc1'],
    ['azide', '[N-]=[N+]=NCc1ccccc1'],
    ['alkyl chloride', 'ClCc1ccccc1'],
    ['mustard', 'ClCCN(C)CCCl'],
    ['mesylate', 'CCOS(C)(=O)=O'],
    ['acrolein', 'C=CC=O'],
    ['phenanthrene', 'c1ccc2c(c1)ccc1ccccc12'],
    ['anthracene', 'c1ccc2cc3ccccc3cc2c1'],
    ['anthraquinone', 'O=C1c2ccccc2C(=O)c2ccccc12'],
  ])('call %s mutagenic', (_, smiles) => {
    expect(follows('AMES', smiles)).toBe(true);
  });

  it.each([
    ['ethanol', 'CCO'],
    ['naphthalene', 'c1ccc2ccccc2c1'],
    ['chlorobenzene', 'Clc1ccccc1'],
    ['glucose', 'OC[C@H]1OC(O)[C@H](O)[C@@H](O)[C@@H]1O'],
    ['4-aminobenzoic acid, which is detoxified', 'Nc1ccc(C(=O)O)cc1'],
  ])('do not call %s mutagenic', (_, smiles) => {
    expect(follows('AMES', smiles)).toBe(false);
  });

  it('call astemizole and terfenadine hERG blockers, but not acids and small polar molecules', () => {
    expect(follows('hERG', 'COc1ccc(CCN2CCC(Nc3nc4ccccc4n3Cc3ccc(F)cc3)CC2)cc1')).toBe(true);
    expect(follows('hERG', 'CC(C)(C)c1ccc(C(O)CCCN2CCC(C(O)(c3ccccc3)c3ccccc3)CC2)cc1')).toBe(true);
    // Fexofenadine, terfenadine's acid, was made because it does not block hERG.
    expect(follows('hERG', 'CC(C)(C(=O)O)c1ccc(C(O)CCCN2CCC(C(O)(c3ccccc3)c3ccccc3)CC2)cc1')).toBe(false);
    expect(follows('hERG', 'CC(=O)Nc1ccc(O)cc1')).toBe(false);
  });

  it('let diazepam into the brain, and keep methotrexate and acids out', () => {
    expect(follows('BBBP', 'CN1C(=O)CN=C(c2ccccc2)c2cc(Cl)ccc21')).toBe(true);
    expect(follows('BBBP', 'CN(Cc1cnc2nc(N)nc(N)c2n1)c1ccc(C(=O)NC(CCC(=O)O)C(=O)O)cc1')).toBe(false);
    expect(follows('BBBP', 'O=C(O)c1ccccc1')).toBe(false);
  });

  it('call chlorambucil toxic, and caffeine not', () => {
    expect(follows('ClinTox', 'O=C(O)CCCc1ccc(N(CCCl)CCCl)cc1')).toBe(true);
    expect(follows('ClinTox', 'Cn1c(=O)c2c(ncn2C)n(C)c1=O')).toBe(false);
  });
});

describe.each(DATASET_NAMES)('the built-in %s', (name) => {
  it('is distinct, valid, as large as the measured set, with the noise it states, and always the same', () => {
    const rows = syntheticRows(rdkit, name);
    const { positives } = DATASETS[name];
    expect(rows).toHaveLength(DATASETS[name].rows);
    expect(new Set(rows.map(({ smiles }) => smiles)).size).toBe(rows.length);
    expect(rows.filter(({ label }) => label === 1)).toHaveLength(positives);

    const rule = ruleFor(rdkit, name);
    let against = 0;
    const notCanonical: string[] = [];
    for (const { smiles, label } of rows) {
      using molecule = parseSmiles(rdkit, smiles);
      if (molecule?.get_smiles() !== smiles) notCanonical.push(smiles);
      if (rule(molecule!) !== (label === 1)) against++;
    }
    expect(notCanonical).toEqual([]);
    const smaller = Math.min(positives, rows.length - positives);
    expect(against).toBe(2 * Math.round(smaller * RECIPES[name].noise));

    const content = createHash('sha256').update(JSON.stringify(rows)).digest('hex');
    expect([syntheticDigest(name).slice(0, 12), content.slice(0, 12)]).toEqual(GOLDEN[name]);
  });
});

it('the built-in data is named for what it is', () => {
  expect(SYNTHETIC_PROVENANCE).toBe('rule-labelled, synthetic');
});
