import { existsSync } from 'node:fs';
import type { PrepareResult } from '../../../bench/scenario.ts';
import { errorToData } from '../../../errors/index.ts';
import { loadRdkit, parseSmiles } from '../chemistry/rdkit.ts';
import { writeFileAtomically } from '../data/atomic-write.ts';
import { DistinctMolecules } from '../data/distinct.ts';
import { loadDataset } from '../data/load.ts';
import type { DataSource } from '../data/resolve.ts';

/** The molecules of a data set as the rows of its features are: for a worker that computes features itself. Runs in a thread. */
export default async function prepareMolecules(input: {
  readonly source: DataSource;
  readonly file: string;
}): Promise<PrepareResult> {
  try {
    if (existsSync(input.file)) return { facts: {} };
    const loaded = await loadDataset(input.source);
    const rdkit = await loadRdkit();
    const molecules = new DistinctMolecules();
    for (const row of loaded.rows) {
      using molecule = parseSmiles(rdkit, row.smiles);
      if (molecule !== null) molecules.add(row, molecule.get_smiles());
    }
    const smiles = molecules.keptIndices().map((index) => molecules.rows[index]?.smiles);
    writeFileAtomically(input.file, [Buffer.from(JSON.stringify(smiles))]);
    return { facts: { molecules: smiles.length } };
  } catch (error) {
    return { error: errorToData(error) };
  }
}
