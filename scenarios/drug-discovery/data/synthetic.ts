import { createHash } from 'node:crypto';
import { CloveError } from '../../../errors/index.ts';
import { parseSmiles, type Rdkit } from '../chemistry/rdkit.ts';
import type { DatasetRow } from './load.ts';
import { seededRandom, shuffle } from './random.ts';
import { DATASETS, type DatasetName } from './sources.ts';
import { assembleSmiles, type Profile } from './synthetic/assemble.ts';
import { CORES, RINGS, SUBSTITUENTS } from './synthetic/fragments.ts';
import { RULE_TABLES, ruleFor } from './synthetic/rules.ts';

/** What the terminal and the report call this data; it is not measured and must never be taken for it. */
export const SYNTHETIC_PROVENANCE = 'rule-labelled, synthetic';

/** Goes up whenever the algorithm (not the tables) changes, as stored features are found by it. */
const GENERATOR_VERSION = 1;

const SEED = 2026;

const MIN_HEAVY_ATOMS = 8;
const MAX_HEAVY_ATOMS = 45;

interface Recipe {
  readonly profile: Profile;
  /**
   * Share of the smaller class whose labels are flipped, with as many of the larger class, so that the class sizes stay. The Ames
   * test agrees with itself between laboratories in about 85 % of cases (Kazius et al. 2005); hERG assays scatter no less.
   */
  readonly noise: number;
}

export const RECIPES: Readonly<Record<DatasetName, Recipe>> = {
  hERG: {
    profile: {
      cores: { aromatic: 5, fused: 4, tricyclic: 1, aliphatic: 4 },
      substituents: { small: 5, polar: 1.2, acid: 0.25, amine: 6, ring: 4 },
      fill: 0.6,
    },
    noise: 0.15,
  },
  AMES: {
    profile: {
      cores: {
        aromatic: 8,
        fused: 4,
        tricyclic: 1,
        polycyclic: 1.8,
        quinone: 0.5,
        aliphatic: 1.5,
        chain: 2,
        polar: 0.5,
      },
      substituents: {
        small: 9,
        polar: 2,
        acid: 1,
        amine: 0.7,
        ring: 2,
        nitroArene: 2.4,
        amineArene: 2,
        reactive: 3.6,
      },
      fill: 0.6,
    },
    noise: 0.12,
  },
  BBBP: {
    profile: {
      cores: { aromatic: 5, fused: 4, tricyclic: 1.5, aliphatic: 4, polar: 1.6, chain: 0.5 },
      substituents: { small: 7, polar: 2, acid: 0.4, amine: 3, ring: 2 },
      fill: 0.55,
    },
    noise: 0.15,
  },
  ClinTox: {
    profile: {
      cores: { aromatic: 5, fused: 4, tricyclic: 0.7, quinone: 0.15, aliphatic: 4, polar: 2, chain: 1 },
      substituents: {
        small: 7,
        polar: 3,
        acid: 1.2,
        amine: 3,
        ring: 2.5,
        nitroArene: 0.15,
        amineArene: 0.5,
        reactive: 0.35,
      },
      fill: 0.55,
    },
    noise: 0.12,
  },
};

/** SHA-256 of all that decides the rows: the tables, the rules, the seed and the size. */
export function syntheticDigest(dataset: DatasetName): string {
  const { rows, positives } = DATASETS[dataset];
  const content = [
    GENERATOR_VERSION,
    SEED,
    dataset,
    rows,
    positives,
    RECIPES[dataset],
    CORES,
    SUBSTITUENTS,
    RINGS,
    RULE_TABLES,
  ];
  return createHash('sha256')
    .update(JSON.stringify([...content, MIN_HEAVY_ATOMS, MAX_HEAVY_ATOMS]))
    .digest('hex');
}

/**
 * The built-in offline set: molecules assembled by seeded rules, distinct, with as many rows and positives as the measured data set
 * has, labelled by published alerts and property rules with noise. The same on every machine, for one release of RDKit.
 */
export function syntheticRows(rdkit: Rdkit, dataset: DatasetName): DatasetRow[] {
  const { rows, positives } = DATASETS[dataset];
  const random = seededRandom(`synthetic ${dataset} ${SEED}`);
  const { profile, noise } = RECIPES[dataset];
  const isPositive = ruleFor(rdkit, dataset);
  const wanted = [rows - positives, positives];
  const byRule: [string[], string[]] = [[], []];
  const seen = new Set<string>();
  for (let attempts = 0; byRule[0].length < wanted[0]! || byRule[1].length < wanted[1]!; attempts++) {
    if (attempts > rows * 20)
      throw new CloveError('INTERNAL', `the synthetic ${dataset} recipe finds too few molecules`);
    using molecule = parseSmiles(rdkit, assembleSmiles(profile, random));
    if (molecule === null)
      throw new CloveError('INTERNAL', `the synthetic ${dataset} recipe made an invalid molecule`);
    const atoms = molecule.get_num_atoms(true);
    if (atoms < MIN_HEAVY_ATOMS || atoms > MAX_HEAVY_ATOMS) continue;
    const smiles = molecule.get_smiles();
    if (seen.has(smiles)) continue;
    seen.add(smiles);
    const label = isPositive(molecule) ? 1 : 0;
    if (byRule[label].length < wanted[label]!) byRule[label].push(smiles);
  }
  const flips = Math.round(Math.min(rows - positives, positives) * noise);
  const labelled = byRule.flatMap((molecules, label) =>
    shuffle(molecules, random).map((smiles, index) => ({ smiles, label: index < flips ? 1 - label : label })),
  );
  return shuffle(labelled, random).map(({ smiles, label }, index) => ({
    id: `synthetic-${dataset.toLowerCase()}-${String(index + 1).padStart(4, '0')}`,
    smiles,
    label: label === 1 ? 1 : 0,
  }));
}
